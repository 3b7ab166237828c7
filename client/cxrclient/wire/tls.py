"""Certificates for a line over TLS: to Triton, or to Milvus."""

from __future__ import annotations

import importlib.util
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrclient.errors import UsageError


@dataclass(frozen=True)
class Tls:
    """Certificates and a key, as PEM files. Without any, gRPC's own authorities are trusted.

    Attributes:
        ca: of the authority that signed the server's certificate (or that certificate).
        certificate: ours, where the server asks for one (mutual TLS).
        key: its private key, without a passphrase.
        server_name: the name in the server's certificate, where it is not the address'.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None

    def require_files(self) -> None:
        """Raise UsageError where a file is not there."""
        for path in (self.ca, self.certificate, self.key):
            if path is not None and not Path(path).is_file():
                raise UsageError(f"{path} is no file. Give the certificate or key as PEM.")

    def context(self) -> ssl.SSLContext:
        """What Python's own TLS takes, so that a bad file is found before a line is opened.

        Raises:
            UsageError: a file is not there or cannot be used; names it.
        """
        self.require_files()
        if (self.certificate is None) != (self.key is None):
            raise UsageError("A client's certificate and its key belong together. Give both.")
        try:
            context = ssl.create_default_context(cafile=self.ca or _authorities_of_grpc())
        except (ssl.SSLError, OSError) as error:
            raise UsageError(f"{self.ca} holds no certificate in PEM that can be read.") from error
        if self.certificate is not None and self.key is not None:
            require_pair(self.certificate, self.key, context)
        return context

    def credentials(self) -> Any:
        """What gRPC takes."""
        import grpc

        ca, key, certificate = (
            None if path is None else Path(path).read_bytes()
            for path in (self.ca, self.key, self.certificate)
        )
        return grpc.ssl_channel_credentials(ca, key, certificate)


def _authorities_of_grpc() -> Path | None:
    """Whom gRPC trusts by default, so that we trust the same; None where it has no such file."""
    own = importlib.util.find_spec("grpc")
    beside = Path((own and own.origin) or "").parent / "_cython" / "_credentials" / "roots.pem"
    path = Path(os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH") or beside)
    return path if path.is_file() else None


def require_pair(
    certificate: str | Path, key: str | Path, context: ssl.SSLContext | None = None
) -> None:
    """Raise UsageError where a certificate and its key cannot be used together.

    Args:
        certificate: PEM file.
        key: PEM file of its private key.
        context: takes them.
    """
    for path in (certificate, key):
        if not Path(path).is_file():
            raise UsageError(f"{path} is no file. Give the certificate or key as PEM.")
    context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # With a password, so that OpenSSL does not ask for one at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise UsageError(
            f"{certificate} and {key} are no certificate and its private key. Give both as PEM, "
            "the key without a passphrase."
        ) from error
