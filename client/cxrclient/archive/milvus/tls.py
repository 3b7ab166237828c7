"""How to reach a Milvus server over TLS."""

from __future__ import annotations

from cxrclient.errors import UsageError
from cxrclient.wire import Tls

__all__ = ["Tls", "for_pymilvus"]


def for_pymilvus(tls: Tls) -> dict[str, str]:
    """Certificates as `MilvusClient` takes them.

    Raises:
        UsageError: a file is not there, or one of the three that mutual TLS needs is missing.
    """
    tls.require_files()
    options = {"server_name": tls.server_name} if tls.server_name else {}
    if tls.certificate or tls.key:
        if not (tls.ca and tls.certificate and tls.key):
            raise UsageError(
                "A client certificate needs its key and the server's authority too. Give all three."
            )
        # pymilvus sends ours only where `server_pem_path` is not set.
        return options | {
            "ca_pem_path": str(tls.ca),
            "client_pem_path": str(tls.certificate),
            "client_key_path": str(tls.key),
        }
    return options | ({"server_pem_path": str(tls.ca)} if tls.ca else {})
