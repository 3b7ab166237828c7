"""Where a listener of the node listens: who can reach it there, and how long it waits for it."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import TypeVar

from cxrclient.errors import NodeError

Bound = TypeVar("Bound")

WAIT_S = 5.0
"""For a port that the node before us holds still."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address or a name; not so where nobody knows it."""
    try:
        found = socket.getaddrinfo(host or None, None, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return all(ip_address(str(address[0])).is_loopback for *_, address in found)


def bound_to(host: str, port: int, bind: Callable[[], Bound]) -> Bound:
    """Call what binds a port, again and again for 5 s while another process holds it.

    Args:
        host: address to listen on.
        port: likewise.
        bind: raises OSError where it cannot.

    Raises:
        NodeError: the port stays taken, or can never be bound.
    """
    until = time.monotonic() + WAIT_S
    while True:
        try:
            return bind()
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < until:
                time.sleep(0.1)
                continue
            reason = error.strerror or type(error).__name__
            raise NodeError(
                f"Nobody can listen on port {port} of {host}: {reason}. Stop what listens there, "
                "or choose another address or port."
            ) from error
