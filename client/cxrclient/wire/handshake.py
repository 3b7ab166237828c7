"""Why a server that is there does not let us in: token, certificates, or no TLS at all.

gRPC says UNAVAILABLE of every fault of TLS, the reason in words that change with its version, and
tries again and again. So a handshake of our own, whose faults have names, comes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any

from cxrclient.errors import AccessDenied, ServerError, TlsFailed
from cxrclient.wire.address import Endpoint

_LIMIT_S = 3.0
# Of a proxy; Triton says UNAVAILABLE, and its own words.
_DENIED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
_RESTRICTED = "This protocol is restricted"
# Source: OpenSSL's x509_vfy.h. The certificate is good, but names another host.
_OTHER_NAME = {62, 64}
_EXPIRED, _NOT_YET_VALID = 10, 9


async def refusal(endpoint: Endpoint, error: Any) -> ServerError | None:
    """Why a server that is there does not let us in; None where that is not what is wrong.

    Args:
        endpoint: that was asked.
        error: what gRPC says.
    """
    if is_denied(error):
        return denied(endpoint, error)
    if error.code().name != "UNAVAILABLE":
        return None
    return await asyncio.to_thread(line_fault, endpoint)


def is_denied(error: Any) -> bool:
    """Whether gRPC's error is that of a server, or a proxy, that asks for another token."""
    return error.code().name in _DENIED or _RESTRICTED in (error.details() or "")


def denied(endpoint: Endpoint, error: Any) -> AccessDenied:
    """What an error that `is_denied` means for us."""
    if "certificate" in (error.details() or ""):  # of a proxy, which looks at ours itself
        return _refused(endpoint)
    if endpoint.token is None:
        return AccessDenied(f"The server at {endpoint} asks for a token. Give it with `token`.")
    return AccessDenied(
        f"The server at {endpoint} refuses the token. Ask who runs it for the right one."
    )


def line_fault(endpoint: Endpoint) -> ServerError | None:
    """Say what is wrong with TLS between us and a server that is there; blocks for seconds.

    Returns:
        What to raise; None where nobody listens, or TLS is not at fault.
    """
    host, _, port = endpoint.address.rpartition(":")
    host = host.strip("[]")
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, int(port)), _LIMIT_S) as plain,
    ):
        if endpoint.tls is None:
            return _asks_for_tls(endpoint, plain)
        return _tls_fault(endpoint, plain, endpoint.tls.server_name or host)
    return None


def _tls_fault(endpoint: Endpoint, plain: socket.socket, name: str) -> ServerError | None:
    assert endpoint.tls is not None  # noqa: S101  # its only caller has looked
    context = endpoint.tls.context()
    context.set_alpn_protocols(["h2"])
    entered = False
    try:
        with context.wrap_socket(plain, server_hostname=name) as line:
            entered = True
            # In TLS 1.3 a server looks at our certificate after our side is done; where it is
            # content, HTTP/2's settings are the first that comes.
            if not line.recv(1):
                return _refused(endpoint)
    except ssl.SSLCertVerificationError as error:
        return TlsFailed(_untrusted(endpoint, name, error))
    except ssl.SSLError as error:
        if entered or "ALERT" in str(error.reason):
            return _refused(endpoint)
        return TlsFailed(
            f"What answers at {endpoint.address} does not speak TLS. Leave grpcs:// and "
            "certificates out, or name the port that does."
        )
    except ConnectionError:
        return _refused(endpoint) if entered else None
    return None


def _untrusted(endpoint: Endpoint, name: str, error: ssl.SSLCertVerificationError) -> str:
    whose = f"The certificate of the server at {endpoint.address}"
    if error.verify_code in _OTHER_NAME:
        return (
            f"{whose} is not for the name {name}. Write the name that it has into the address, or "
            "after `tls.server_name`."
        )
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        when = "has expired" if error.verify_code == _EXPIRED else "is not valid yet"
        return f"{whose} {when}. Have the server get a new one, or look at this machine's clock."
    return (
        f"{whose} is not trusted ({error.verify_message}). Name the authority that signed it with "
        "`tls.ca`."
    )


def _refused(endpoint: Endpoint) -> AccessDenied:
    tls = endpoint.tls
    if tls is not None and tls.certificate is not None:
        return AccessDenied(
            f"The server at {endpoint.address} refuses the certificate {tls.certificate}. Give one "
            "that its authority has signed, with `tls.certificate` and `tls.key`."
        )
    return AccessDenied(
        f"The server at {endpoint.address} asks for a certificate of yours (mutual TLS). Give it "
        "with `tls.certificate` and `tls.key`."
    )


def _asks_for_tls(endpoint: Endpoint, plain: socket.socket) -> TlsFailed | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whoever it is: the question is only whether it speaks TLS, and nothing is sent.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        context.wrap_socket(plain).close()
    except ssl.SSLError as error:
        if "ALERT" not in str(error.reason):  # an alert is TLS's own
            return None
    return TlsFailed(
        f"The server at {endpoint.address} speaks TLS only. Write grpcs://{endpoint.address}, and "
        "name the authority that signed its certificate with `tls.ca`."
    )
