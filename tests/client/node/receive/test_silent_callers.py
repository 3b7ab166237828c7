"""Callers who connect and say nothing, or half of something, keep no film waiting."""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
import time

import pytest

from cxrclient.node import TlsFiles
from cxrclient.node.network import acceptor, line as of_lines
from cxrclient.node.network.tls import client_context
from dicom_senders import kept, noted
from waiting import eventually

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
NOTHING = b""
HALF = b"\x01\x00" + struct.pack(">L", 200) + b"half of a request"
NO_DICOM = b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"


@contextlib.contextmanager
def _callers(port, count, says, address=HERE):
    """Connections that say so much and no more."""
    with contextlib.ExitStack() as held:
        callers = []
        for _ in range(count):
            caller = held.enter_context(socket.socket())
            caller.settimeout(60)
            caller.bind((address, 0))
            caller.connect((HERE, port))
            with contextlib.suppress(ConnectionError):  # it may have had to go already
                caller.sendall(says)
            callers.append(caller)
        yield callers


def _ended(caller):
    try:
        return caller.recv(100) == b""
    except ConnectionError:
        return True


@pytest.fixture
def tls_files(certificates):
    return TlsFiles(*(certificates / name for name in ("ca.pem", "server.pem", "server.key")))


@pytest.fixture
def client(certificates):
    names = ("ca.pem", "client.pem", "client.key")
    return client_context(TlsFiles(*(certificates / name for name in names)))


@pytest.mark.parametrize("says", [NOTHING, HALF])
@pytest.mark.parametrize("address", [HERE, ELSEWHERE])
def test_as_many_silent_callers_as_like_lock_nobody_out(
    spool, film, listen, sender, on_disk, monkeypatch, says, address
):
    monkeypatch.setattr(acceptor, "HELLO_S", 600.0)  # none of them goes of itself
    listener = listen()
    count = acceptor.MOST_UNKNOWN + acceptor.MOST_ASSOCIATIONS + 10
    with _callers(listener.port, count, says, address):
        (status,) = sender(listener).store(on_disk(film()))
    assert status.Status == 0x0000
    assert len(kept(spool)) == 1


def test_the_one_address_with_most_silent_callers_loses_its_oldest(listen, monkeypatch):
    monkeypatch.setattr(acceptor, "HELLO_S", 600.0)
    monkeypatch.setattr(acceptor, "MOST_UNKNOWN", 4)
    listener = listen()

    def call(held, address):
        (caller,) = held.enter_context(_callers(listener.port, 1, NOTHING, address))
        unknown, here = listener._server._unknown, caller.getsockname()
        # The threads of two who call at once may begin in any order.
        eventually(lambda: [each.socket.getpeername() for each in unknown[-1:]] == [here])
        return caller

    with contextlib.ExitStack() as held:
        ours = [call(held, HERE) for _ in range(2)]
        theirs = [call(held, ELSEWHERE) for _ in range(5)]
        for caller in theirs[:3]:
            assert _ended(caller)
        for caller in (*ours, *theirs[3:]):
            caller.settimeout(0.05)
            with pytest.raises(TimeoutError):
                caller.recv(1)


@pytest.mark.parametrize("says", [NOTHING, HALF])
def test_a_silent_caller_goes_after_a_while(listen, monkeypatch, says):
    monkeypatch.setattr(acceptor, "HELLO_S", 0.2)
    listener = listen()
    with _callers(listener.port, 1, says) as (caller,):
        assert _ended(caller)


def test_what_is_no_dicom_goes_at_once(listen, monkeypatch):
    listener = listen()
    too_long = b"\x01\x00\xff\xff\xff\xff"
    monkeypatch.setattr(acceptor, "HELLO_S", 600.0)
    for says in (NO_DICOM, too_long):
        with _callers(listener.port, 1, says) as (caller,):
            assert _ended(caller)


def test_silent_callers_stop_no_handshake_of_others(
    spool, film, listen, sender, on_disk, monkeypatch, tls_files, client
):
    monkeypatch.setattr(acceptor, "HELLO_S", 600.0)
    listener = listen(tls=tls_files)
    half_hello = b"\x16\x03\x01\x02\x00\x01"
    with (
        _callers(listener.port, 3, NOTHING),
        _callers(listener.port, 3, half_hello),
        socket.create_connection((HERE, listener.port)) as plain,
        client.wrap_socket(plain, server_hostname=HERE),  # and then it says nothing
    ):
        (status,) = sender(listener, tls=client).store(on_disk(film()))
    assert status.Status == 0x0000


@pytest.mark.parametrize("name", ["expired", "stranger", None])
def test_mutual_tls_takes_films_of_those_with_a_valid_certificate_alone(
    spool, listen, sender, certificates, tls_files, name
):
    own = (certificates / f"{name}.pem", certificates / f"{name}.key") if name else ()
    listener = listen(tls=tls_files)
    context = client_context(TlsFiles(certificates / "ca.pem", *own))
    assert not sender(listener, tls=context).associate().is_established
    eventually(lambda: noted(spool) == [("CALLER_TLS", None)])


def test_who_speaks_without_tls_is_refused_and_noted(spool, listen, sender, tls_files):
    assert not sender(listen(tls=tls_files)).associate().is_established
    eventually(lambda: [code for code, _ in noted(spool)] == ["CALLER_TLS"])


def test_a_certificate_of_ours_that_nobody_trusts_is_noted(spool, listen, sender, certificates):
    expired = TlsFiles(None, certificates / "expired.pem", certificates / "expired.key")
    context = client_context(TlsFiles(certificates / "ca.pem"))
    assert not sender(listen(tls=expired), tls=context).associate().is_established
    eventually(lambda: [code for code, _ in noted(spool)] == ["CALLER_TLS"])


def test_one_address_cannot_have_all_associations(listen, sender, monkeypatch):
    monkeypatch.setattr(acceptor, "MOST_OF_ONE_ADDRESS", 2)
    monkeypatch.setattr(of_lines, "_RESTS_S", 600.0)  # one that rests would make room
    listener = listen()
    first, second = sender(listener).associate(), sender(listener).associate()
    third = sender(listener).associate()
    assert third.is_rejected
    assert third.acceptor.primitive.result == 2, "for now"
    other = sender(listener).associate(bind_address=(ELSEWHERE, 0))
    assert other.is_established
    first.release()
    eventually(lambda: sender(listener).associate().is_established)
    second.release()


def test_a_sender_that_stalls_in_a_message_is_let_go(spool, film, listen, sender, monkeypatch):
    monkeypatch.setattr(of_lines, "STALL_S", 0.3)
    association = sender(listen()).associate()
    line = association.dul.socket.socket
    line.sendall(b"\x04\x00" + struct.pack(">L", 1000) + b"too little")
    eventually(lambda: [code for code, _ in noted(spool)] == ["TRANSFER_ABORTED"])
    eventually(lambda: not association.is_established)


def test_a_stop_does_not_wait_for_a_sender_that_stalls(spool, listen, sender, monkeypatch):
    monkeypatch.setattr(of_lines, "STALL_S", 1e6)  # by which alone it would never end
    listener = listen()
    association = sender(listener).associate()
    association.dul.socket.socket.sendall(b"\x04\x00" + struct.pack(">L", 1000) + b"too little")
    (line,) = listener._server.lines()
    listener.stop(0.1)
    for thread in (line.assoc, line.assoc.dul):
        eventually(lambda each=thread: not each.is_alive(), "it would keep the process")
    assert kept(spool) == []


def test_an_association_that_rests_is_heard_when_it_goes_on(film, listen, sender, on_disk):
    association = sender(listen()).associate()
    line = association.dul.socket
    path = on_disk(film())
    for _ in range(2):
        time.sleep(2 * of_lines._RESTS_S)  # what is tested is a time
        assert association.send_c_store(path).Status == 0x0000
    assert line.socket is not None
    association.release()
    assert association.is_released


def test_a_lack_of_descriptors_is_noted_and_passes(spool, listen):
    listener = listen()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as line:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            line.connect(("127.0.0.1", listener.port))
            told = eventually(lambda: spool.rows.all("SELECT code FROM notes"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

        assert [row["code"] for row in told] == ["NO_DESCRIPTORS"]
        eventually(lambda: listener._server._unknown)
