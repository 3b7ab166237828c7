"""Whether all that a node needs is there: one thing after the other, and nothing is changed."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cxrclient.errors import ArchiveError, CxrClientError, UsageError
from cxrclient.files import cannot_write
from cxrclient.node.network.association import PeerError
from cxrclient.node.network.certificates import Ended, end_of
from cxrclient.node.options import NodeOptions, TlsFiles
from cxrclient.node.send.peers import peers_of
from cxrclient.node.spool.look import is_held, what_to_do
from cxrclient.serving import Check

SOON_DAYS = 30
"""A certificate that ends within so many days is worth a word."""


def check_node(options: NodeOptions) -> Iterator[Check]:
    """Check all that `run_node` needs, each as soon as it is known.

    Args:
        options: as for `run_node`.

    Yields:
        What was looked at; `wrong` where the node would not work.

    Raises:
        UsageError: a peer is none.
    """
    peers = peers_of(options)
    yield _spool(options.spool)
    yield _room(options)
    running = options.spool.is_dir() and is_held(options.spool)
    for name, port in (("DICOM port", options.port), ("HTTP port", options.http_port)):
        yield _port(f"{name} {port}", options.host, port, running=running)
    if options.tls.cert is not None:
        yield _certificate("certificate of the listeners", options.tls)
    if options.peer_tls.cert is not None:
        yield _certificate("certificate for peers", options.peer_tls, of_caller=True)
    yield _triton(options)
    if options.archive_uri is not None:
        yield _archive(options.archive_uri, running=running)
    for peer in peers:
        try:
            peer.check()
        except PeerError as error:
            yield Check(f"peer {peer.name}", "wrong", error.message, what_to_do(error.code))
        else:
            yield Check(f"peer {peer.name}", "ok", "it answers, and lets us ask")
        finally:
            peer.close()


def _spool(folder: Path) -> Check:
    subject = "spool"
    if not folder.exists():
        above = _nearest(folder)
        if not os.access(above, os.W_OK | os.X_OK):
            return Check(subject, "wrong", f"{folder} is not there, and {above} is not writable",
                         "Make it, for the user of the node alone.")  # fmt: skip
        return Check(subject, "ok", f"{folder} is not there yet; the node makes it")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check(subject, "wrong", cannot_write(folder, error), what_to_do("SPOOL_UNAVAILABLE"))
    whose = "a node works with it now" if is_held(folder) else "no node works with it now"
    return Check(subject, "ok", f"{folder} can be written to; {whose}")


def _nearest(folder: Path) -> Path:
    """The folder itself or the first above it that is there."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())


def _room(options: NodeOptions) -> Check:
    free = shutil.disk_usage(_nearest(options.spool)).free
    found = f"{free / 1e9:,.1f} GB free, {options.min_free_bytes / 1e9:,.1f} GB wanted"
    if free < options.min_free_bytes:
        return Check("disk of the spool", "wrong", found, what_to_do("LOW_DISK"))
    return Check("disk of the spool", "ok", found)


def _port(subject: str, host: str, port: int, *, running: bool) -> Check:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and running:
            return Check(subject, "ok", "taken, as it should be: a node works with this spool")
        mend = {
            errno.EADDRINUSE: "Stop the program that has it, or give another port.",
            errno.EACCES: "Give a port above 1023, or the right to take this one.",
        }.get(error.errno or 0, "Give an address of this machine with --host.")
        return Check(subject, "wrong", f"cannot be taken on {host}: {error.strerror}", mend)
    return Check(subject, "ok", f"free on {host}")


def _certificate(subject: str, tls: TlsFiles, *, of_caller: bool = False) -> Check:
    renew = f"Renew {tls.cert}, and start the node again."
    try:
        end = end_of(tls, of_caller=of_caller)
    except Ended as error:
        return Check(subject, "wrong", f"{tls.cert} {error}", renew)
    except UsageError as error:
        return Check(subject, "wrong", error.message)
    left = (end - datetime.now(UTC)).days
    found = f"{tls.cert} and its key fit; it ends on {end:%Y-%m-%d}"
    return Check(subject, "note", found, renew) if left < SOON_DAYS else Check(subject, "ok", found)


def _triton(options: NodeOptions) -> Check:
    from cxrclient.settings import client_settings
    from cxrclient.wire import CxrClient, Endpoint

    subject = f"Triton {options.server}"
    try:
        endpoint = Endpoint.of_settings(
            client_settings(options.server, None, None, None, **options.secured)
        )
        with CxrClient(endpoint, timeout_s=options.timeout_s, retry_for_s=0) as client:
            model = client.model
    except CxrClientError as error:
        return Check(subject, "wrong", error.message)
    return Check(subject, "ok", f"model {model.name} ({model.digest[:12]})")


def _archive(uri: str, *, running: bool) -> Check:
    from cxrclient.archive import SimilarityIndex, Tls, import_lightly
    from cxrclient.settings import ArchiveSettings

    import_lightly()
    subject = f"archive {uri}"
    in_file = not uri.startswith(("http://", "https://"))
    if in_file and not Path(uri).exists():
        return Check(subject, "ok", "not there yet; the first film makes it")
    if in_file and running:
        return Check(subject, "note", "not looked at: the node that runs has it")
    told = ArchiveSettings()
    tls = Tls(told.milvus_tls_ca, told.milvus_tls_cert, told.milvus_tls_key, told.milvus_tls_name)
    token = os.environ.get("CXR_MILVUS_TOKEN")
    try:
        with SimilarityIndex(uri, model_digest=None, create=False, token=token, tls=tls) as index:
            return Check(subject, "ok", f"{len(index)} films")
    except (ArchiveError, UsageError) as error:
        return Check(subject, "wrong", error.message)
