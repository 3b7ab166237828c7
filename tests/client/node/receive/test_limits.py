"""No sender takes all memory or all associations, and who breaks the protocol is noted."""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import threading
import time

import pydicom
import pytest
from pydicom.uid import generate_uid

from cxrclient.node.network import acceptor, line as of_lines
from cxrclient.node.receive.intake import Receipt
from dicom_senders import CR, EXPLICIT, data_pdu, kept, noted, store_command
from waiting import eventually

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
COMMAND, LAST_COMMAND, DATA, LAST_DATA = (bytes([header]) for header in (1, 3, 0, 2))
SR, CT = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.2"
COMMITMENT, MPEG = "1.2.840.10008.1.20.1", "1.2.840.10008.1.2.4.102"


@pytest.fixture
def looks_often(monkeypatch):
    """For films that are small, in pieces that are smaller."""
    monkeypatch.setattr(acceptor, "PDU_BYTES", 4096)
    monkeypatch.setattr(of_lines, "_LOOK_S", 0.0)


def _send(association, sent):
    with contextlib.suppress(ConnectionError):  # it may have been ended on the way
        association.dul.socket.socket.sendall(sent)


def _lines(listener):
    return listener._server.lines()


def _codes(spool):
    return [code for code, _ in noted(spool)]


@pytest.mark.parametrize(
    "sent",
    [
        data_pdu(COMMAND + bytes(9_000)) * 2,
        b"\x04\x00" + struct.pack(">L", (1 << 20) + 1),
        data_pdu(COMMAND, context=99),
        b"\x04\x00" + struct.pack(">LLB", 6, 1000, 1) + b"\x03\x00",
        data_pdu(LAST_COMMAND + b"\xff" * 300),
        data_pdu(LAST_COMMAND),
        data_pdu(b""),
        data_pdu(LAST_DATA + b"no command before"),
    ],
    ids=["command set", "long PDU", "context", "length", "garbage", "empty", "nothing", "data set"],
)
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_who_breaks_the_protocol_is_let_go_and_noted(spool, listen, sender, sent):
    association = sender(listen()).associate()
    _send(association, sent)
    eventually(lambda: not association.is_established)
    eventually(lambda: _codes(spool) == ["PROTOCOL_WRONG"])


def test_a_request_that_cannot_be_decoded_is_noted(spool, listen):
    names = "CXR".ljust(16).encode() + "RÖNTGEN".ljust(16).encode("latin-1")
    request = b"\0\1\0\0" + names + bytes(32)
    with socket.create_connection(("127.0.0.1", listen().port)) as caller:
        caller.sendall(b"\1\0" + struct.pack(">L", len(request)) + request)
        assert caller.recv(100)[:1] == b"\x07", "an A-ABORT"
    eventually(lambda: _codes(spool) == ["PROTOCOL_WRONG"])


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_object_larger_than_any_film_is_cut_off_and_its_sender_told(
    spool, listen, sender, monkeypatch
):
    monkeypatch.setattr(of_lines, "MAX_FILE_BYTES", 100_000)
    association = sender(listen()).associate()
    _send(association, store_command() + data_pdu(DATA + bytes(20_000)) * 20)
    eventually(lambda: association.acse.is_aborted() or association.is_aborted)
    eventually(lambda: noted(spool) == [("TOO_LARGE", "1.2.3")])
    assert kept(spool) == []


@pytest.mark.parametrize(
    ("count", "films", "patience_s"), [(2, 2.2, 0.3), (1, 1.0, 600.0)], ids=["slow", "large"]
)
def test_while_objects_take_too_much_memory_one_that_is_slow_or_large_is_cut(
    spool, film, listen, sender, on_disk, monkeypatch, looks_often, count, films, patience_s
):
    file = film()
    monkeypatch.setattr(of_lines, "MOST_HELD_BYTES", int(films * len(file)))
    monkeypatch.setattr(of_lines, "PATIENCE_S", patience_s)
    listener = listen()
    slow = [sender(listener).associate() for _ in range(count)]
    for each in slow:
        _send(each, store_command() + data_pdu(DATA + bytes(len(file) - 1000)))
    eventually(
        lambda: (
            [hand.held > 1000 for line in _lines(listener) for hand in line.messages.hands]
            == [True] * count
        )
    )
    (status,) = sender(listener).store(on_disk(file))
    assert status.Status == 0x0000
    eventually(lambda: noted(spool) == [("MEMORY_FULL", "1.2.3")])
    for each in slow:
        each.abort()


def test_many_films_at_once_wait_for_memory_and_are_all_taken(
    spool, film, listen, sender, on_disk, monkeypatch, looks_often
):
    monkeypatch.setattr(of_lines, "MOST_HELD_BYTES", 100_000)
    sending = sender(listen())
    paths = []
    for _ in range(4):
        dataset, buffer = pydicom.dcmread(io.BytesIO(film())), io.BytesIO()
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(buffer)
        paths.append(on_disk(buffer.getvalue()))
    threads = [threading.Thread(target=sending.store, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept(spool)) == len(paths)
    assert noted(spool) == []


def test_who_does_not_wait_for_answers_is_not_read_ahead_of_them(listen, sender, monkeypatch):
    listener = listen()
    in_hand = []

    def taken(*_told):
        time.sleep(0.05)  # in which all of them would be read
        in_hand.append(len(_lines(listener)[0].messages.hands))
        return Receipt("stored")

    monkeypatch.setattr("cxrclient.node.receive.listener.take_in", taken)
    association = sender(listener).associate()
    message = store_command() + data_pdu(DATA + bytes(10_000)) + data_pdu(LAST_DATA)
    _send(association, message * 20)
    eventually(lambda: len(in_hand) == 20)
    assert max(in_hand) <= 3, "one that is stored, one that waits, one that comes"


def test_of_too_many_associations_the_one_that_rested_longest_goes(
    spool, film, listen, sender, on_disk, monkeypatch
):
    monkeypatch.setattr(acceptor, "MOST_ASSOCIATIONS", 3)
    listener = listen()
    sending = sender(listener)
    ours = sending.associate()
    theirs = []
    for _ in range(2):
        theirs.append(sending.associate(bind_address=(ELSEWHERE, 0)))
    eventually(lambda: all(line.rests for line in _lines(listener)))
    (status,) = sending.store(on_disk(film()))
    assert status.Status == 0x0000
    eventually(lambda: not theirs[0].is_established)
    assert ours.is_established
    assert theirs[1].is_established
    assert _codes(spool) == ["TOO_MANY_CALLERS"]


def test_no_association_goes_in_the_middle_of_a_message(spool, listen, sender, monkeypatch):
    monkeypatch.setattr(acceptor, "MOST_ASSOCIATIONS", 1)
    listener = listen()
    busy = sender(listener).associate()
    _send(busy, store_command())
    eventually(lambda: [line.messages.hands and line.rests for line in _lines(listener)] == [True])
    for _ in range(2):
        assert sender(listener).associate().is_rejected
    assert busy.is_established
    assert _codes(spool) == ["TOO_MANY_CALLERS"], "once a minute"
    busy.abort()


def test_a_film_in_hand_is_finished_at_the_stop(spool, film, listen, sender, on_disk, monkeypatch):
    going, stopped = threading.Event(), threading.Event()
    listener = listen()
    from cxrclient.node.receive import listener as module

    whole = module.take_in

    def slowly(*told):
        going.set()
        assert stopped.wait(60)
        return whole(*told)

    monkeypatch.setattr(module, "take_in", slowly)
    monkeypatch.setattr(module, "_LAST_FILMS_S", 60.0)
    path, statuses = on_disk(film()), []
    sending = threading.Thread(target=lambda: statuses.extend(sender(listener).store(path)))
    sending.start()
    assert going.wait(60)
    listener.stop_taking()
    stopping = threading.Thread(target=listener.stop, args=(60,))
    stopping.start()
    stopped.set()
    stopping.join()
    sending.join()
    assert [status.Status for status in statuses] == [0x0000]
    assert len(kept(spool)) == 1


def test_who_asks_for_no_film_is_noted(spool, listen, sender):
    listener = listen()
    for _ in range(2):
        sender(listener).associate((SR, EXPLICIT), (CT, EXPLICIT))
    eventually(lambda: _codes(spool) == ["NOT_A_FILM"] * 2)
    sender(listener).associate((CR, MPEG))
    eventually(lambda: _codes(spool) == ["NOT_A_FILM"] * 3)
    sender(listener).associate((CR, EXPLICIT), (SR, EXPLICIT)).release()
    assert _codes(spool) == ["NOT_A_FILM"] * 3, "a PACS asks for all that it has"


def test_storage_commitment_is_refused_and_noted(spool, listen, sender):
    sender(listen()).associate((CR, EXPLICIT), (COMMITMENT, EXPLICIT)).release()
    eventually(lambda: _codes(spool) == ["COMMITMENT_REFUSED"])
