"""TLS made of PEM files and the system's authorities: for listeners, and for calls to peers."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from cxrclient.errors import UsageError
from cxrclient.node.options import TlsFiles
from cxrclient.wire import require_pair


def server_context(
    tls: TlsFiles, kind: type[ssl.SSLContext] = ssl.SSLContext
) -> ssl.SSLContext | None:
    """Make what a listener speaks TLS with: 1.2 or newer, mutual where an authority is given.

    Args:
        tls: of the listeners.
        kind: what is made.

    Returns:
        None where no file is given: the listener speaks without TLS.

    Raises:
        UsageError: certificate or key is missing, or a file cannot be used; names it.
    """
    if not tls:
        return None
    if tls.cert is None or tls.key is None:
        raise UsageError("A listener with TLS has a certificate and a key. Give both as PEM files.")
    context = kind(ssl.PROTOCOL_TLS_SERVER)
    _load(context, tls)
    if tls.ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: TlsFiles) -> ssl.SSLContext:
    """Make what a peer is called with over TLS: 1.2 or newer, its certificate and name checked.

    Args:
        tls: of connections to peers; without `ca`, the authorities of OpenSSL's store are trusted:
            those of SSL_CERT_FILE and SSL_CERT_DIR, else the system's.

    Raises:
        UsageError: one of certificate and key is missing, or a file cannot be used, and is named;
            or there is no store.
    """
    if (tls.cert is None) != (tls.key is None):
        raise UsageError("A client's certificate and its key belong together. Give both.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, tls)
    if tls.ca is None:
        context.load_default_certs()
        # Those of a folder are read one by one, when they are asked for.
        if not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
            raise UsageError(
                "This system has no store of authorities, so no peer could be trusted. Install "
                "ca-certificates, or give the peers' authority with --peer-tls-ca."
            )
    return context


class _OurContext(HTTPAdapter):
    """Calls with one context, and what it trusts: requests would add the authorities of certifi."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *sizes: Any, **more: Any) -> None:
        super().init_poolmanager(*sizes, **more, ssl_context=self._context)

    def cert_verify(self, *_connection: Any, **_more: Any) -> None:
        """Nothing is left to do: the context has certificates and authorities."""


def web_session(url: str, tls: TlsFiles) -> requests.Session:
    """Make what a peer is called with over HTTP.

    No variable of the environment leads what is a patient's elsewhere, or has a password for it.

    Args:
        url: of the peer.
        tls: for https; as for `client_context`.

    Raises:
        UsageError: as `client_context`.
    """
    session = requests.Session()
    session.trust_env = False
    if url.lower().startswith("https:"):
        session.mount("https://", _OurContext(client_context(tls)))
    return session


def _load(context: ssl.SSLContext, tls: TlsFiles) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert is not None and tls.key is not None:
        require_pair(tls.cert, tls.key, context)
    if tls.ca is not None:
        _trust(context, tls.ca)


def _trust(context: ssl.SSLContext, authority: Path) -> None:
    if not authority.is_file():
        raise UsageError(f"{authority} is no file. Give the authority's certificate as PEM.")
    try:
        context.load_verify_locations(authority)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"{authority} holds no certificate in PEM that can be read.") from error
