"""Peers that warn, refuse, are full, lie, or do not let us ask: each has its code and its end."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pydicom
import pytest
from pynetdicom.dsutils import split_dataset

from cxrclient.node.send import couriers
from cxrclient.node.spool.look import retry
from orthanc import free_port
from scripted_pacs import Script, scripted_dimse, scripted_web
from waiting import eventually

SR = "1.2.840.10008.5.1.4.1.1.88.34"  # Comprehensive 3D SR
both = pytest.mark.parametrize("by", ["dimse", "web"])


@contextmanager
def listening(by, script):
    """Let it listen, and give its name as a peer."""
    if by == "web":
        with scripted_web(script):
            yield f"http://127.0.0.1:{script.port}/dicom-web"
    else:
        with scripted_dimse(script):
            yield f"PACS@127.0.0.1:{script.port}"


def uid_of(path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


@both
def test_every_byte_is_sent_as_it_is_on_the_disk_under_our_name(by, office) -> None:
    script = Script()
    with listening(by, script) as peer:
        office.start(peer, aet="OURS")
        files = office.film(1, "japanese, first set empty")
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")

    for path in files.values():
        at = 0 if by == "web" else split_dataset(path)[1]
        assert script.got[uid_of(path)] == path.read_bytes()[at:], path.name
    assert script.callers == {"" if by == "web" else "OURS"}


def test_films_that_wait_together_go_over_one_association(office, monkeypatch) -> None:
    monkeypatch.setattr(couriers, "_IDLE_S", 600.0)  # however long a film takes to be made
    script = Script()
    with listening("dimse", script) as peer:
        office.start(peer)
        eventually(lambda: office.couriers.states()[peer][0], "not there")
        for number in range(5):
            office.film(number)
        eventually(lambda: office.deliveries(peer) == {"delivered": 5}, "not delivered")
    assert len(script.got) == 15
    assert script.associations <= 3, "one to see what is there, one that knows the SOP classes"


@both
def test_a_warning_is_a_success_that_is_noted(by, office) -> None:
    script = Script(statuses={SR: 0xB000})
    with listening(by, script) as peer:
        office.start(peer)
        office.film()
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")
    assert office.codes() == {"PEER_WARNED": "It warned of sr (status 0xb000)."}
    assert len(script.got) == 3


@both
@pytest.mark.parametrize("status", [0xA900, 0xC123, 0x0122])
def test_one_of_three_refused_for_good_leaves_the_others_stored_and_is_not_tried_again(
    by, status, office
) -> None:
    script = Script(statuses={SR: status})
    with listening(by, script) as peer:
        office.start(peer)
        files = office.film()
        eventually(lambda: office.deliveries(peer) == {"refused": 1}, "not refused")
        assert set(script.got) == {uid_of(files["seg"]), uid_of(files["sc"])}
        assert office.codes()["PEER_REFUSED_OBJECT"].startswith("It will not store sr (status")
        assert office.couriers.states()[peer][0], "the peer itself is well"

        script.statuses.clear()
        assert retry(office.folder) == 1
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")
    assert len(script.got) == 3
    assert len(script.stores) == 4, "what is there is not sent again"


def test_a_sop_class_that_is_not_accepted_is_a_refusal_of_that_object(office) -> None:
    script = Script(unknown={SR})
    with listening("dimse", script) as peer:
        office.start(peer)
        office.film()
        eventually(lambda: office.deliveries(peer) == {"refused": 1}, "not refused")
    assert "sr (its SOP class" in office.codes()["PEER_REFUSED_OBJECT"]
    assert len(script.got) == 2


@both
def test_a_peer_without_room_gets_the_rest_later(by, office) -> None:
    script = Script(statuses={SR: 0xA700})
    with listening(by, script) as peer:
        office.start(peer)
        office.film()
        eventually(lambda: "PEER_BUSY" in office.codes(), "not seen")
        eventually(lambda: not office.couriers.states()[peer][0], "not said")
        script.statuses.clear()
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")
        eventually(lambda: office.couriers.states()[peer][0], "not said")
    assert office.codes() == {}
    assert len(script.got) == 3


@pytest.mark.parametrize(
    ("status", "code"), [(503, "PEER_BUSY"), (500, "PEER_BUSY"), (401, "PEER_REFUSED"),
                         (404, "PEER_REFUSED"), (307, "PEER_REFUSED")]
)  # fmt: skip
def test_what_http_says_of_the_whole_peer_is_no_fault_of_an_object(status, code, office) -> None:
    script = Script(http=status)
    with listening("web", script) as peer:
        office.start(peer)
        office.film()
        eventually(lambda: code in office.codes(), "not seen")
        assert f"HTTP {status}" in office.codes()[code]
        assert office.deliveries(peer) == {"waiting": 1}


def test_a_request_that_is_refused_as_a_whole_is_tried_object_by_object(office) -> None:
    script = Script(http=413)
    with listening("web", script) as peer:
        office.start(peer)
        office.film()
        eventually(lambda: office.deliveries(peer) == {"refused": 1}, "not refused")
    told = office.codes()["PEER_REFUSED_OBJECT"]
    assert all(f"{kind} (HTTP 413)" in told for kind in ("sr", "seg", "sc"))


@both
def test_an_index_that_lags_costs_a_question_more_and_no_object_more(by, office) -> None:
    questions = 3 if by == "dimse" else 2  # of one asking: series by series, or until a 404
    script = Script(blind=questions)
    with listening(by, script) as peer:
        office.start(peer)
        office.film()
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")
    assert len(script.stores) == 3


@both
def test_what_a_peer_says_to_have_and_has_not_is_asked_for_and_sent_again_later(
    by, office, monkeypatch
) -> None:
    monkeypatch.setattr("cxrclient.node.spool.spool.wait_after", lambda _attempts: 0.05)
    script = Script(blind=10_000)
    with listening(by, script) as peer:
        office.start(peer)
        office.film()
        eventually(lambda: "PEER_LACKS" in office.codes(), "not seen")
        eventually(lambda: len(script.stores) >= 6, "not sent again")
        asked = 10_000 - script.blind
        assert asked >= couriers.RESEND_EVERY * 3, "it was asked in between"
        assert "sr, seg, sc" in office.codes()["PEER_LACKS"]
        script.blind = 0
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")


@both
def test_who_cannot_be_asked_gets_results_once_and_is_asked_for_ever(
    by, office, monkeypatch
) -> None:
    monkeypatch.setattr("cxrclient.node.spool.spool.wait_after", lambda _attempts: 0.05)
    script = Script(answers_find=False, port=free_port())
    with listening(by, script) as peer:
        office.start(peer)
        office.film()

        def tries() -> int:
            row = office.spool.rows.one("SELECT attempts FROM deliveries")
            return int(row["attempts"])

        eventually(lambda: tries() > 2, "not asked again")
        assert "PEER_CANNOT_ASK" in office.codes()
        assert not office.couriers.states()[peer][0]
        office.stop()  # nor after a start
        office.start(peer)
        before = tries()
        eventually(lambda: tries() > before + 1, "not asked again")
        assert len(script.stores) == 3
    script.answers_find = True
    with listening(by, script) as peer:
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")
    assert len(script.stores) == 3


def test_a_question_that_is_not_understood_is_no_answer(office) -> None:
    script = Script(find_status=0xA900)
    with listening("dimse", script) as peer:
        office.start(peer)
        office.film()
        eventually(lambda: "PEER_CANNOT_ASK" in office.codes(), "not seen")
    assert "0xa900" in office.codes()["PEER_CANNOT_ASK"]


def test_a_result_that_is_lost_from_the_disk_holds_up_no_other(office) -> None:
    script = Script(port=free_port())
    office.start(peer := f"PACS@127.0.0.1:{script.port}")
    office.film(1)["sr"].unlink()
    office.film(2)
    with listening("dimse", script):
        eventually(lambda: office.deliveries(peer) == {"delivered": 1, "waiting": 1}, "held up")
        eventually(lambda: "SENDING_FAILED" in office.codes(), "not seen")


def test_a_stop_does_not_wait_for_a_peer_that_is_silent(office) -> None:
    script = Script()
    with listening("dimse", script) as peer:
        office.start(peer)
        script.hold.clear()
        office.film()
        eventually(lambda: script.stores, "not sent")
        (thread,) = [each for each in threading.enumerate() if each.name == f"courier {peer}"]
        office.couriers.stop(0.2)
        eventually(lambda: not thread.is_alive(), "it waits on")
        script.hold.set()
    assert office.deliveries(peer) == {"waiting": 1}
