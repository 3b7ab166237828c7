"""How to reach a Milvus server over TLS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxrclient.errors import UsageError


@dataclass(frozen=True)
class Tls:
    """Certificates for an https:// URI. Without any, the authorities that gRPC knows are trusted.

    Attributes:
        ca: PEM file of the authority that signed the server's certificate (or that certificate).
        certificate: PEM file of ours, where the server asks for one (mutual TLS); needs `ca`.
        key: PEM file of its private key.
        server_name: the name in the server's certificate, where it is not the URI's.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None

    def for_pymilvus(self) -> dict[str, str]:
        """As `MilvusClient` takes it.

        Raises:
            UsageError: a file is not there, or one of the three that mutual TLS needs is missing.
        """
        for path in (self.ca, self.certificate, self.key):
            if path is not None and not Path(path).is_file():
                raise UsageError(f"{path} is no file. Give the certificate or key as PEM.")
        options = {"server_name": self.server_name} if self.server_name else {}
        if self.certificate or self.key:
            if not (self.ca and self.certificate and self.key):
                raise UsageError(
                    "A client certificate needs its key and the server's authority too. Give all "
                    "three."
                )
            # pymilvus sends ours only where `server_pem_path` is not set.
            return options | {
                "ca_pem_path": str(self.ca),
                "client_pem_path": str(self.certificate),
                "client_key_path": str(self.key),
            }
        return options | ({"server_pem_path": str(self.ca)} if self.ca else {})
