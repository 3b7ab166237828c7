"""The peers that a node is told: `AET@HOST:PORT`, `https://HOST/dicom-web`."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit

from cxrclient.errors import UsageError
from cxrclient.node.network.association import DicomAddress
from cxrclient.node.network.tls import client_context
from cxrclient.node.options import NodeOptions
from cxrclient.node.send.dimse_peer import DimsePeer
from cxrclient.node.send.peer import Peer
from cxrclient.node.send.web_peer import WebPeer

_PORTS = {"http": 80, "https": 443}


def peers_of(options: NodeOptions) -> list[Peer]:
    """Read the peers; none is called yet.

    Args:
        options: where any file for TLS with peers is given, those of DIMSE are called over TLS.

    Raises:
        UsageError: one makes no sense, or stands there twice; or a file for TLS cannot be used.
    """
    tls = client_context(options.peer_tls) if options.peer_tls else None
    found: dict[tuple[object, ...], Peer] = {}
    for typed in options.peers:
        if "://" in typed:
            place, peer = _web(typed, options)
        else:
            address = DicomAddress.of(typed)
            place = (address.aet, address.host.lower(), address.port)
            peer = DimsePeer(typed, address, aet=options.aet, tls=tls)
        if place in found:
            raise UsageError(f"The peer {peer.name} is there twice. Name it once.")
        found[place] = peer
    return list(found.values())


def _web(typed: str, options: NodeOptions) -> tuple[tuple[object, ...], Peer]:
    shown = typed.rpartition("@")[2]  # a password is not repeated
    wrong = UsageError(
        f"{shown} is no address of DICOMweb. Type it as https://HOST[:PORT]/dicom-web."
    )
    try:
        url = urlsplit(typed)
        port = url.port if url.port is not None else _PORTS.get(url.scheme)
    except ValueError as error:
        raise wrong from error
    if not url.hostname or not port or url.query or url.fragment or any(map(str.isspace, typed)):
        raise wrong
    name = SplitResult(
        url.scheme, url.netloc.rpartition("@")[2], url.path.rstrip("/"), "", ""
    ).geturl()
    credentials = (unquote(url.username), unquote(url.password or "")) if url.username else None
    peer = WebPeer(name, name, credentials=credentials, tls=options.peer_tls)
    return (url.scheme, url.hostname, port, url.path.rstrip("/")), peer
