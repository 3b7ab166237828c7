"""Callers who are silent, slow, many or broken: each has an end, is told why, and harms nobody."""

from __future__ import annotations

import json
import resource
import socket
import ssl
import time
from contextlib import ExitStack

import pytest

from cxrclient.node.options import TlsFiles
from cxrclient.node.web import callers, stow
from waiting import eventually


def notes(web) -> list[str]:
    return [row["code"] for row in web.spool.rows.all("SELECT code FROM notes ORDER BY id")]


@pytest.fixture
def connect(web):
    """Connects to `web`, from an address of this machine; nobody says anything yet."""
    with ExitStack() as lines:

        def connected(address: str = "127.0.0.1") -> socket.socket:
            there = ("127.0.0.1", web.listener.port)
            line = lines.enter_context(socket.create_connection(there, 60, (address, 0)))
            line.settimeout(60)
            return line

        yield connected


def answers(line: socket.socket) -> bool:
    """Whether a connection is still served."""
    try:
        line.sendall(b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n")
        return line.recv(100).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


def test_of_one_address_the_oldest_silent_connection_goes(web, film, connect, monkeypatch):
    monkeypatch.setattr(callers, "MOST_OF_ONE_ADDRESS", 3)
    first, *others = [connect() for _ in range(4)]

    assert first.recv(1) == b""
    assert all(answers(line) for line in others)
    assert web.store(film()).status_code == 200
    assert eventually(lambda: notes(web)) == ["TOO_MANY_CALLERS"]


def test_an_address_with_many_connections_does_not_drive_out_others(web, connect, monkeypatch):
    monkeypatch.setattr(callers, "MOST", 4)
    quiet = connect("127.0.0.2")
    many = [connect("127.0.0.3") for _ in range(8)]

    assert answers(quiet)
    assert [answers(line) for line in many] == 5 * [False] + 3 * [True]


def test_a_request_in_hand_is_finished_however_many_come(web, film, connect, monkeypatch):
    monkeypatch.setattr(callers, "MOST_OF_ONE_ADDRESS", 1)
    body = web.body(film())
    sender = connect()
    sender.sendall(web.head(len(body)) + body[:5000])
    eventually(lambda: web.listener._store.reading)

    assert not answers(connect())
    sender.sendall(body[5000:])
    assert sender.recv(12) == b"HTTP/1.1 200"


def test_a_silent_request_in_hand_makes_room(web, connect, monkeypatch):
    monkeypatch.setattr(callers, "MOST_OF_ONE_ADDRESS", 1)
    monkeypatch.setattr(callers, "SILENT_S", 0.0)
    sender = connect()
    sender.sendall(web.head(10_000) + b"--a boundary\r\n")
    eventually(lambda: web.listener._store.reading)

    assert answers(connect())


def test_a_sender_that_drips_is_let_go_as_if_silent(web, connect, monkeypatch):
    monkeypatch.setattr(stow, "SILENT_S", 0.5)
    line = connect()
    line.sendall(web.head(1_000_000) + b"--a boundary\r\n\r\n")
    line.settimeout(0.05)
    told = b""
    for _ in range(600):
        try:
            line.sendall(b"a few bytes")
            told = line.recv(1000)
            break
        except TimeoutError:
            continue

    assert told.startswith(b"HTTP/1.1 408 ")
    assert eventually(lambda: notes(web)) == ["TRANSFER_ABORTED"]


def test_a_steady_sender_has_as_long_as_it_needs(web, film, connect, monkeypatch):
    monkeypatch.setattr(stow, "SILENT_S", 3.0)
    monkeypatch.setattr(stow, "SLOWEST_BYTES_S", 1)  # each piece is fast enough on any machine
    body = web.body(film())
    line = connect()
    line.sendall(web.head(len(body)))
    for part in range(32):
        line.sendall(body[part * len(body) // 32 : (part + 1) * len(body) // 32])
        time.sleep(0.1)  # all together longer than it may be silent
    assert line.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("shown", ["expired", "stranger", None])
def test_who_is_refused_by_tls_is_told_and_noted(start, certificates, shown):
    files = (certificates / name for name in ("ca.pem", "server.pem", "server.key"))
    web = start("https", tls=TlsFiles(*files))
    ours = ssl.create_default_context(cafile=certificates / "ca.pem")
    if shown is not None:
        ours.load_cert_chain(certificates / f"{shown}.pem", certificates / f"{shown}.key")

    with (
        socket.create_connection(("127.0.0.1", web.listener.port), 60) as line,
        pytest.raises(ssl.SSLError, match=r"(?i)alert"),
    ):
        ours.wrap_socket(line, server_hostname="localhost").recv(1)

    assert eventually(lambda: notes(web)) == ["CALLER_TLS"]


def test_who_speaks_no_tls_is_noted_once(start, certificates):
    web = start(
        "https", tls=TlsFiles(None, certificates / "server.pem", certificates / "server.key")
    )
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", web.listener.port), 60) as line:
            line.sendall(b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n")
            while line.recv(100):
                pass
    with socket.create_connection(("127.0.0.1", web.listener.port), 60):
        pass  # only looks whether the port is open

    assert eventually(lambda: notes(web)) == ["CALLER_TLS"]
    assert web.get("/health/live", verify=certificates / "ca.pem").status_code == 200


def test_who_never_shakes_hands_is_hung_up(start, certificates, monkeypatch):
    monkeypatch.setattr(callers, "HELLO_S", 0.3)
    web = start(
        "https", tls=TlsFiles(None, certificates / "server.pem", certificates / "server.key")
    )
    with socket.create_connection(("127.0.0.1", web.listener.port), 60) as line:
        assert line.recv(1) == b""


def test_a_lack_of_descriptors_is_noted_and_passes(web):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as line:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            line.connect(("127.0.0.1", web.listener.port))
            noted = eventually(lambda: notes(web))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

        assert noted == ["NO_DESCRIPTORS"]
        line.settimeout(60)
        assert answers(line)


_POST = "POST /dicom-web/studies HTTP/1.1\r\nHost: here\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (f"{_POST}Transfer-Encoding: chunked\r\n\r\nSecret\r\n", 400),
        (f"{_POST}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\nSecret", 400),
        (f"{_POST}X-Long: {'Secret' * 5000}\r\n\r\n", 400),
        (f"{_POST}Expect: Secret\r\n\r\n", 417),
        ("GET /nowhere HTTP/1.1\r\nHost: here\r\nExpect: Secret\r\n\r\n", 417),
        ("Secret\r\n\r\n", 400),
    ],
    ids=["chunks", "two-lengths", "long-header", "expect", "expect-nowhere", "no-http"],
)
def test_what_is_no_http_is_refused_with_a_code_and_not_quoted(web, connect, request_, status):
    line = connect()
    line.sendall(request_.encode())
    told = b""
    while piece := line.recv(10_000):
        told += piece
    head, _, body = told.partition(b"\r\n\r\n")

    assert int(head.split()[1]) == status
    assert json.loads(body)["code"] == "REQUEST_BROKEN"
    assert b"ecret" not in told
    assert eventually(lambda: notes(web)) == ["REQUEST_BROKEN"]
