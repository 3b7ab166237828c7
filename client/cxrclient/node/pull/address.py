"""Which PACS an address means."""

from __future__ import annotations

import logging

from cxrclient.errors import UsageError
from cxrclient.node.options import TlsFiles
from cxrclient.node.pull.pacs import Pacs

# What they say quotes URLs and identifiers; what is to be known of it is in our errors.
_LIBRARIES = ("pynetdicom", "dicomweb_client", "urllib3")


def open_pacs(
    address: str,
    *,
    aet: str,
    host: str,
    port: int,
    tls: TlsFiles,
    peer_tls: TlsFiles,
    timeout_s: float,
) -> Pacs:
    """Make what speaks to a PACS; nothing is asked yet.

    Args:
        address: `AET@HOST:PORT`, or the URL of its DICOMweb.
        aet: our AE title; this and the next three are for `AET@HOST:PORT` alone.
        host: address to listen on for what C-MOVE sends.
        port: port for it.
        tls: of that listener.
        peer_tls: of connections to the PACS.
        timeout_s: how long the PACS may say nothing.

    Raises:
        UsageError: the address is none, a file cannot be used, or the extra `pacs` is missing.
        NodeError: the port is taken.
    """
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        if "://" in address:
            from cxrclient.node.pull.dicomweb import DicomWebPacs

            return DicomWebPacs(address, peer_tls, timeout_s)
        from cxrclient.node.network.association import DicomAddress
        from cxrclient.node.pull.dimse import DimsePacs
        from cxrclient.node.pull.inbox import Inbox
    except ImportError as error:
        raise UsageError("pull needs `pip install 'cxr-triton[pacs]'`.") from error
    peer = DicomAddress.of(address)
    inbox = Inbox(aet, host, port, tls)
    return DimsePacs(peer, inbox, aet=aet, tls=peer_tls, timeout_s=timeout_s)
