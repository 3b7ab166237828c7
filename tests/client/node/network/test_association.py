"""Associations that we open: who answers otherwise than hoped is said at once, and how."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from cxrclient.node.network import association as module
from cxrclient.node.network.association import (
    ECHO,
    EXPLICIT,
    FIND,
    IMPLICIT,
    DicomAddress,
    PeerError,
    close_association,
    find,
    is_open,
    open_association,
)
from orthanc import free_port
from scripted_pacs import Script, scripted_dimse
from waiting import eventually

QUERY = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "SOPInstanceUID": r"1.2.4\1.2.5"}


def called(port, contexts=((ECHO, IMPLICIT), (FIND, EXPLICIT)), **more):
    return open_association(
        DicomAddress("PACS", "127.0.0.1", port), aet="OURS", contexts=contexts, **more
    )


def ask_for_ever(line):
    while True:
        find(line, "IMAGE", QUERY)


def test_a_question_gives_what_was_asked_for_and_no_more() -> None:
    with scripted_dimse(Script(got={"1.2.4": b"", "1.2.5": b""})) as script:
        line = called(script.port)
        found = find(line, "IMAGE", QUERY)
        close_association(line)
        close_association(line)  # harmless twice
    assert [each["SOPInstanceUID"] for each in found] == ["1.2.4", "1.2.5"]
    assert all(each.keys() == QUERY.keys() for each in found)


def test_what_is_asked_and_found_is_not_logged(caplog) -> None:
    caplog.set_level("DEBUG")
    with scripted_dimse(Script(got={"1.2.4": b""})) as script:
        line = called(script.port)
        found = find(line, "IMAGE", {**QUERY, "PatientName": "ASKED^FOR"})
        close_association(line)
    assert found[0]["PatientName"] == "WARD^SECRET"
    assert "SECRET" not in caplog.text
    assert "ASKED" not in caplog.text


def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(PeerError) as raised:
        called(free_port())
    assert raised.value.code == "PEER_UNREACHABLE"
    with pytest.raises(PeerError) as raised:
        open_association(
            DicomAddress("PACS", "no-such-host.invalid", 104),
            aet="OURS",
            contexts=[(ECHO, IMPLICIT)],
        )
    assert raised.value.code == "PEER_UNREACHABLE"


def test_who_accepts_a_connection_and_says_nothing_is_unreachable(monkeypatch) -> None:
    monkeypatch.setattr(module, "ASSOCIATE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(PeerError) as raised:
        called(silent.getsockname()[1])
    assert raised.value.code == "PEER_UNREACHABLE"


def test_who_takes_none_of_our_contexts_refuses() -> None:
    with scripted_dimse(Script()) as script, pytest.raises(PeerError) as raised:
        called(script.port, contexts=[("1.2.840.10008.1.20.1", IMPLICIT)])
    assert raised.value.code == "PEER_REFUSED"


def test_a_connection_that_ends_at_any_moment_wakes_who_asks(monkeypatch) -> None:
    """Within pynetdicom it would cost the whole timeout, or hang."""
    monkeypatch.setattr(module, "ANSWER_S", 3600.0)
    before = set(threading.enumerate())

    def acceptor():
        for each in set(threading.enumerate()) - before:
            if each.name.startswith("AcceptorThread") and each.is_established:
                return each
        return None

    with scripted_dimse(Script()) as script:
        for round_ in range(30):
            line = called(script.port)
            theirs = eventually(acceptor)
            before.add(theirs)
            theirs.dul.socket.socket.shutdown(socket.SHUT_RDWR)
            time.sleep(round_ / 10_000)  # 0 to 3 ms
            with pytest.raises(PeerError) as raised:
                ask_for_ever(line)
            assert raised.value.code == "PEER_BUSY"
            assert not is_open(line)
            close_association(line)
