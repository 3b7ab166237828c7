"""When a certificate of ours ends, and whether its key fits: Python's own TLS is asked."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from cxrclient.errors import UsageError
from cxrclient.node.options import TlsFiles
from cxrclient.wire import require_pair

_SAID = {9: "is not valid yet", 10: "has expired"}
"""Source: X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED of OpenSSL's x509_vfy.h."""


class Ended(Exception):
    """A certificate is not valid today; its text says how, as what a certificate does."""


def end_of(tls: TlsFiles, *, of_caller: bool = False) -> datetime:
    """When a certificate ends.

    Python reads a certificate's dates in a handshake only, so both sides of one are played in
    memory: it proves that certificate and key work, too.

    Args:
        tls: with `cert` and `key`.
        of_caller: whether we show it where we call, and not where we listen; some certificates
            may be used for one of these only.

    Raises:
        Ended: it is not valid today.
        UsageError: certificate and key do not belong together, or cannot be read.
    """
    if tls.cert is None or tls.key is None:
        raise UsageError("A certificate and its key belong together. Give both.")
    listener, caller = (
        ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    for each in (listener, caller):
        require_pair(tls.cert, tls.key, each)
    caller.check_hostname = False
    who, other = (listener, caller) if of_caller else (caller, listener)
    who.verify_mode, other.verify_mode = ssl.CERT_REQUIRED, ssl.CERT_NONE
    who.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    who.load_verify_locations(tls.cert)
    try:
        told = _greet(listener, caller, of_caller=of_caller)
    except ssl.SSLCertVerificationError as error:
        raise Ended(_SAID.get(error.verify_code, f"is not valid: {error.verify_message}")) from None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(told["notAfter"])), UTC)


def _greet(
    listener: ssl.SSLContext, caller: ssl.SSLContext, *, of_caller: bool
) -> dict[str, object]:
    """What one side of a handshake reads in the other's certificate."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    calls = caller.wrap_bio(back, there)
    listens = listener.wrap_bio(there, back, server_side=True)
    waiting = [calls, listens]
    while waiting:
        for side in tuple(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    return dict((listens if of_caller else calls).getpeercert() or {})
