"""Who may do what over HTTP: a bearer token, a client's certificate, or this machine alone."""

from __future__ import annotations

import secrets
from typing import Self

from cxrclient.errors import NodeError
from cxrclient.node.network.addresses import is_loopback
from cxrclient.node.options import NodeOptions
from cxrclient.wire import read_token


class Refused(Exception):
    """A request is refused.

    Attributes:
        status: of HTTP.
        code: of `NOTES`.
        headers: that the answer gets.
    """

    def __init__(self, status: int, code: str, **headers: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Access:
    """Who may store and read.

    Args:
        token: of who reads results and, where it is open, stores; None where there is none.
        is_open: whether others than this machine reach the node without a certificate, so that who
            stores `needs_token`.
    """

    def __init__(self, token: str | None, *, is_open: bool) -> None:
        self._token, self.needs_token = token, is_open

    @classmethod
    def of(cls, options: NodeOptions) -> Self:
        """Give what a node's options say.

        Raises:
            NodeError: anybody on the network could store films.
            UsageError: the token's file cannot be read.
        """
        file = options.results_token_file
        is_open = not is_loopback(options.host) and options.tls.ca is None
        if is_open and file is None:
            raise NodeError(
                f"Anybody who reaches {options.host} could store films over HTTP. Give a token "
                "with --results-token-file, or ask senders for a certificate with --tls-ca, or "
                "stay on 127.0.0.1."
            )
        return cls(None if file is None else read_token(file), is_open=is_open)

    def require_sender(self, authorization: str | None) -> None:
        """Refuse who may not store.

        Args:
            authorization: the request's header.

        Raises:
            Refused: 401, `TOKEN_WRONG`.
        """
        if self.needs_token:
            self._require(authorization)

    def require_reader(self, authorization: str | None) -> None:
        """Refuse who may not read results.

        Args:
            authorization: the request's header.

        Raises:
            Refused: 403, `TOKEN_MISSING`, where there is no token to have; 401, `TOKEN_WRONG`.
        """
        if self._token is None:
            raise Refused(403, "TOKEN_MISSING")
        self._require(authorization)

    def _require(self, authorization: str | None) -> None:
        scheme, _, token = (authorization or "").partition(" ")
        told = token.strip().encode("utf-8", "replace")
        if scheme.lower() != "bearer" or not secrets.compare_digest(
            told, (self._token or "").encode()
        ):
            raise Refused(401, "TOKEN_WRONG", WWW_Authenticate='Bearer realm="cxr-triton"')
