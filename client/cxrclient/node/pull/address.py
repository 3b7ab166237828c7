"""Which PACS an address means."""

from __future__ import annotations

from cxrclient.errors import UsageError
from cxrclient.node.options import TlsFiles
from cxrclient.node.pull.pacs import Pacs


def open_pacs(
    address: str, tls: TlsFiles, *, aet: str, host: str, port: int, timeout_s: float
) -> Pacs:
    """Make what speaks to a PACS; nothing is asked yet.

    Args:
        address: `AET@HOST:PORT`, or the URL of its DICOMweb.
        tls: of connections to it.
        aet: our AE title.
        host: address to listen on for what C-MOVE sends.
        port: port for it; only used with `AET@HOST:PORT`.
        timeout_s: how long the PACS may say nothing.

    Raises:
        UsageError: the address is none, or a file cannot be used.
        NodeError: the port is taken.
    """
    if "://" in address:
        from cxrclient.node.pull.dicomweb import DicomWebPacs

        return DicomWebPacs(address, tls, timeout_s)
    raise UsageError("--pacs is no http(s)://HOST[:PORT]/PATH and no AET@HOST:PORT.")
