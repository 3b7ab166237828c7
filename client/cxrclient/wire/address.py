"""HOST:PORT of a server's gRPC endpoint."""

from __future__ import annotations

import ipaddress

from cxrclient.errors import UsageError

DEFAULT_PORT = 8001


def checked_address(address: str) -> str:
    """HOST:PORT; a bare host gets Triton's gRPC port.

    Raises:
        UsageError: it is a URL, or has no usable port.
    """
    if "://" in address:
        raise UsageError(
            f"{address!r} is a URL. Give HOST:PORT of the server's gRPC endpoint, for example "
            f"localhost:{DEFAULT_PORT}."
        )
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, str(DEFAULT_PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in host:
        raise UsageError(f"{address!r} is not HOST:PORT, for example localhost:{DEFAULT_PORT}.")
    return f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether an address of `checked_address` is this machine's own."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
