"""Who may do what over HTTP, and that nobody who says nothing holds up the others."""

from __future__ import annotations

import socket
import ssl

import pytest
import requests

from cxrclient.errors import NodeError, UsageError
from cxrclient.node.network import addresses
from cxrclient.node.options import TlsFiles
from cxrclient.node.web import listener

TOKEN = "0123456789abcdef"


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("page", ["/results", "/drift"])
def test_results_are_for_who_has_the_token(start, token_file, page):
    web = start(results_token_file=token_file)

    assert web.get(page, headers=bearer(TOKEN)).status_code == 200
    for headers in ({}, bearer("0123456789abcdeg"), bearer(""), {"Authorization": TOKEN}):
        answer = web.get(page, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_WRONG")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("page", ["/results", "/drift"])
def test_without_a_token_nobody_reads_results_and_is_told_what_to_do(web, page):
    answer = web.get(page, headers=bearer(TOKEN))

    assert (answer.status_code, answer.json()["code"]) == (403, "TOKEN_MISSING")
    assert "--results-token-file" in answer.json()["do"]


def test_this_machine_alone_stores_without_a_token(start, film, token_file):
    assert start(results_token_file=token_file).store(film()).status_code == 200


def test_beyond_this_machine_only_who_has_the_token_stores(start, film, token_file):
    web = start(host="0.0.0.0", results_token_file=token_file)

    assert web.store(film()).status_code == 401
    assert web.store(film(), token="wrong").status_code == 401
    assert web.kept() == []
    assert web.spool.rows.counts() == {"note:TOKEN_WRONG": 2}
    assert web.store(film(), token=TOKEN).status_code == 200
    assert web.get("/health/ready").status_code == 200


def test_a_node_that_anybody_could_store_in_does_not_start(start):
    with pytest.raises(NodeError, match=r"--results-token-file.*--tls-ca"):
        start(host="0.0.0.0")


def test_a_token_that_cannot_be_read_is_told_at_the_start(start, tmp_path):
    with pytest.raises(UsageError, match="token"):
        start(results_token_file=tmp_path / "none")


def test_a_port_that_is_taken_is_told_at_the_start(start, monkeypatch):
    monkeypatch.setattr(addresses, "WAIT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NodeError, match=f"port {port} "):
            start(http_port=port)


def tls(folder, *, mutual: bool) -> TlsFiles:
    return TlsFiles(folder / "ca.pem" if mutual else None, folder / "server.pem",
                    folder / "server.key")  # fmt: skip


def test_films_come_over_tls(start, film, certificates):
    web = start("https", tls=tls(certificates, mutual=False))

    assert web.store(film(), verify=certificates / "ca.pem").status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        web.get("/health/live", verify=certificates / "unknown.pem")


def test_with_mutual_tls_a_certificate_is_enough_and_needed(start, film, certificates):
    web = start("https", host="0.0.0.0", tls=tls(certificates, mutual=True))
    ours = {"verify": certificates / "ca.pem"}

    def cert(name: str) -> tuple[str, str]:
        return str(certificates / f"{name}.pem"), str(certificates / f"{name}.key")

    assert web.store(film(), cert=cert("client"), **ours).status_code == 200
    for name in ("stranger", "expired"):
        with pytest.raises(requests.exceptions.ConnectionError):
            web.store(film(), cert=cert(name), **ours)
    with pytest.raises(requests.exceptions.ConnectionError):
        web.store(film(), **ours)


def test_a_certificate_that_cannot_be_used_is_told_at_the_start(start, certificates):
    files = TlsFiles(cert=certificates / "ca.key", key=certificates / "server.key")
    with pytest.raises(NodeError):
        start("https", tls=files)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_callers_who_say_nothing_hold_nobody_up(start, film, certificates, scheme):
    more = {"tls": tls(certificates, mutual=False)} if scheme == "https" else {}
    web = start(scheme, **more)
    here = ("127.0.0.1", web.listener.port)
    silent = [socket.create_connection(here) for _ in range(50)]
    silent[0].sendall(b"\x16\x03\x01" if scheme == "https" else b"POST /dicom-web/studies HT")

    try:
        assert web.store(film(), verify=certificates / "ca.pem").status_code == 200
    finally:
        for each in silent:
            each.close()


def test_a_caller_who_never_asks_is_hung_up(start, monkeypatch):
    monkeypatch.setattr(listener, "FIRST_WORD_S", 0.3)
    web = start()
    with socket.create_connection(("127.0.0.1", web.listener.port)) as line:
        line.sendall(b"GET /health/live HTTP/1.1\r\nHost")
        line.settimeout(60)
        assert line.recv(1) == b""


def test_tls_is_new_enough(start, certificates):
    web = start("https", tls=tls(certificates, mutual=False))
    old = ssl.create_default_context(cafile=certificates / "ca.pem")
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", web.listener.port)) as line,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        old.wrap_socket(line, server_hostname="localhost")
