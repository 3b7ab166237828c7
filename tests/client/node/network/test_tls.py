"""TLS contexts of the node: who gets through, and what is said of a bad file."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest

from cxrclient.errors import UsageError
from cxrclient.node import TlsFiles
from cxrclient.node.network.tls import client_context, server_context


def _files(folder, name, ca="ca"):
    return TlsFiles(folder / f"{ca}.pem" if ca else None, folder / f"{name}.pem",
                    folder / f"{name}.key")  # fmt: skip


def _talk(server, client, name="127.0.0.1"):
    """What a client hears from a server that says `hello` to whom it lets in."""
    ours, theirs = socket.socketpair()

    def answer():
        try:
            with server.wrap_socket(ours, server_side=True) as line:
                line.sendall(b"hello")
        except OSError:
            ours.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname=name) as line:
            return line.recv(5), line.version()
    finally:
        theirs.close()
        thread.join()


def test_both_sides_with_certificates_of_one_authority_talk(certificates):
    server = server_context(_files(certificates, "server"))
    heard, version = _talk(server, client_context(_files(certificates, "client")))
    assert (heard, version) == (b"hello", "TLSv1.3")


def test_a_client_needs_no_certificate_where_no_authority_is_given(certificates):
    server = server_context(_files(certificates, "server", ca=None))
    assert _talk(server, client_context(TlsFiles(ca=certificates / "ca.pem")))[0] == b"hello"


@pytest.mark.parametrize("name", ["stranger", "expired", None])
def test_mutual_tls_lets_in_who_has_a_valid_certificate_alone(certificates, name):
    server = server_context(_files(certificates, "server"))
    ca = certificates / "ca.pem"
    client = client_context(_files(certificates, name) if name else TlsFiles(ca=ca))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _talk(server, client)


@pytest.mark.parametrize("name", ["stranger", "expired", "elsewhere"])
def test_a_client_refuses_a_server_that_is_expired_unknown_or_another(certificates, name):
    with pytest.raises(ssl.SSLCertVerificationError):
        _talk(
            server_context(_files(certificates, name, ca=None)),
            client_context(_files(certificates, "client")),
        )


def test_tls_older_than_1_2_is_refused(certificates):
    client = client_context(_files(certificates, "client"))
    client.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        _talk(server_context(_files(certificates, "server")), client)


def test_without_files_a_listener_speaks_plainly():
    assert server_context(TlsFiles()) is None


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"key": None}, "certificate and a key"),
        ({"cert": None}, "certificate and a key"),
        ({"ca": "nothing.pem"}, "nothing.pem is no file"),
        ({"cert": "nothing.pem"}, "nothing.pem is no file"),
        ({"key": "client.key"}, "no certificate and its private key"),
        ({"ca": "server.key"}, "holds no certificate"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(certificates, broken, said):
    files = {"ca": "ca.pem", "cert": "server.pem", "key": "server.key", **broken}
    paths = {side: certificates / name if name else None for side, name in files.items()}
    with pytest.raises(UsageError, match=said):
        server_context(TlsFiles(**paths))


def test_a_clients_certificate_without_its_key_is_refused(certificates):
    with pytest.raises(UsageError, match="belong together"):
        client_context(TlsFiles(cert=certificates / "client.pem"))
