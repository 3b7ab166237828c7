"""Where a server's gRPC endpoint is, and what it takes to get in: TLS and a token."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from cxrclient.errors import UsageError
from cxrclient.settings import ClientSettings
from cxrclient.wire.tls import Tls

DEFAULT_PORT = 8001
_SCHEMES = ("grpc://", "grpcs://")
_TOKEN_HEADER = "triton-grpc-protocol-cxr-token"  # noqa: S105  # its name; Triton asks for it so
_TOKEN = re.compile(r"[!-~]{1,4096}")
"""Printable ASCII without blanks: more, a header cannot hold."""


@dataclass(frozen=True)
class Endpoint:
    """A server's gRPC endpoint.

    Attributes:
        address: HOST:PORT, or HOST alone for Triton's port 8001; `grpcs://` before it asks for TLS.
            Without `grpcs://` afterwards.
        tls: certificates; asks for TLS, too. None without `grpcs://`: nothing is encrypted.
        token: proves to the server that we may send films.

    Raises:
        UsageError: the address is none, a certificate cannot be used, or the token would be sent
            over a line that others can read.
    """

    address: str
    tls: Tls | None = None
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        scheme = next((each for each in _SCHEMES if self.address.startswith(each)), "")
        object.__setattr__(self, "address", _checked(self.address.removeprefix(scheme)))
        if scheme == "grpcs://" and self.tls is None:
            object.__setattr__(self, "tls", Tls())
        if scheme == "grpc://" and self.tls is not None:
            raise UsageError(
                f"grpc:// is a line without TLS, which needs no certificates. Write grpcs://"
                f"{self.address}, or leave the certificates out."
            )
        if self.tls is not None:
            self.tls.context()
        if self.token is None:
            return
        if not _TOKEN.fullmatch(self.token):
            raise UsageError("The token is not one line of printable ASCII without blanks.")
        if self.tls is None and not is_loopback(self.address):
            raise UsageError(
                f"Without TLS, others can read the token on its way to {self.address}. Write "
                f"grpcs://{self.address}, or name the authority of its certificate with "
                "`tls.ca`."
            )

    def __str__(self) -> str:
        return self.address if self.tls is None else f"grpcs://{self.address}"

    @classmethod
    def of(cls, address: str | Endpoint) -> Endpoint:
        """An endpoint as it is; an address as one."""
        return address if isinstance(address, Endpoint) else cls(address)

    @classmethod
    def of_settings(cls, settings: ClientSettings) -> Endpoint:
        """Where the server is, and what it takes to get in, as options and environment say.

        Raises:
            UsageError: the address is none, or a file cannot be used.
        """
        tls = Tls(
            settings.server_tls_ca,
            settings.server_tls_cert,
            settings.server_tls_key,
            settings.server_tls_name,
        )
        token = settings.server_token_file
        return cls(
            settings.server,
            None if tls == Tls() else tls,
            None if token is None else read_token(token),
        )

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What goes with each request: the token, as a proxy asks for it and as Triton does."""
        if self.token is None:
            return ()
        return (("authorization", f"Bearer {self.token}"), (_TOKEN_HEADER, self.token))


def read_token(path: str | Path) -> str:
    """Read the token that a file holds.

    Raises:
        UsageError: the file cannot be read, or holds no token.
    """
    try:
        token = Path(path).read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read. Give a text file that holds the token."
        ) from error
    if not _TOKEN.fullmatch(token):
        raise UsageError(
            f"{path} does not hold a token: one line of printable ASCII without blanks. "
            "`openssl rand -hex 32` makes one."
        )
    return token


def _checked(address: str) -> str:
    """HOST:PORT; a bare host gets Triton's gRPC port. Raises UsageError."""
    if "://" in address:
        raise UsageError(
            f"{address!r} is a URL. Give HOST:PORT of the server's gRPC endpoint, for example "
            f"localhost:{DEFAULT_PORT}, or grpcs://HOST:PORT for TLS."
        )
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, str(DEFAULT_PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in host:
        raise UsageError(f"{address!r} is not HOST:PORT, for example localhost:{DEFAULT_PORT}.")
    return f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether a HOST:PORT is this machine's own."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
