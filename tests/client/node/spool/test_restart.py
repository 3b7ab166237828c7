"""What a node finds of its spool when it starts again, and what leaves the disk by then."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import replace
from typing import Any

import pydicom
import pytest

from cxrclient.errors import SpoolUnavailable
from cxrclient.node.spool import opening
from cxrclient.node.spool.arrival import values_of
from cxrclient.node.spool.layout import write_outcome
from cxrclient.node.spool.look import retry, spool_status
from cxrclient.node.spool.records import NoRoom, Outcome
from cxrclient.node.spool.retention import retire
from cxrclient.node.spool.rows import Rows
from cxrclient.node.spool.spool import Spool
from spooled import GOOD, PEER, again, took


def test_a_film_that_left_the_disk_is_known_by_its_values(spool, film) -> None:
    file = film()
    took(spool, file)
    spool.finish(spool.claim_film(0), replace(GOOD, values=values_of(file)))
    for target in spool.targets:
        spool.delivered(spool.claim_delivery(target, 0))
    assert retire(spool, -1) == 1

    assert took(spool, film("rle")) == "again", "the same values, encoded otherwise"
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(file))
    assert took(spool, film(PixelData=bytes(len(dataset.PixelData)))) == "other_pixels"


def test_a_clock_that_is_put_back_delays_nothing(spool, film, monkeypatch) -> None:
    took(spool, film())
    spool.put_off(spool.claim_film(0), "SERVER_BUSY", "It is busy.", wait_s=60)
    assert spool.claim_film(0) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 7200)
    assert spool.claim_film(0) is not None


def test_files_of_others_in_the_spool_are_left_alone(spool, film) -> None:
    took(spool, film())
    strays = [spool.folder / "films/.DS_Store", next(spool.folder.glob("films/*")) / "notes.txt"]
    for stray in strays:
        stray.write_text("not ours")
    with again(spool, "node.sqlite*") as restored:
        assert restored.waiting() == 1
    assert all(stray.exists() for stray in strays)


def test_rows_that_are_lost_are_made_of_the_files(spool, film) -> None:
    took(spool, film())
    done = film(SOPInstanceUID="1.2.3.4")
    took(spool, done)
    jobs = [spool.claim_film(0), spool.claim_film(0)]
    spool.finish(jobs[1], GOOD)

    with again(spool, "node.sqlite*") as restored:
        assert spool_status(restored.folder)["films"] == {"analysed": 1, "waiting": 1}
        assert restored.claim_film(0).arrival.uid == jobs[0].arrival.uid
        delivery = restored.claim_delivery(PEER, 0)
        assert delivery.outcome == GOOD
        assert delivery.ask_first, "a peer may have it by now"


def test_rows_that_are_damaged_are_made_of_the_files(spool, film) -> None:
    took(spool, film())
    spool.close()
    database = spool.folder / "node.sqlite"
    database.write_bytes(b"SQLite format 3\0" + os.urandom(5000))

    with Spool(spool.folder) as restored:
        assert restored.waiting() == 1
    assert (spool.folder / "damaged-node.sqlite").exists()


def test_a_kill_between_outcome_and_row_costs_nothing(spool, film) -> None:
    took(spool, film())
    job = spool.claim_film(0)
    write_outcome(spool.folder, job.arrival, GOOD)

    with again(spool) as restored:
        assert restored.claim_film(0) is None
        assert restored.claim_delivery(PEER, 0).outcome == GOOD


def test_what_a_kill_left_half_written_is_taken_away(spool, film) -> None:
    took(spool, film())
    job = spool.claim_film(0)
    results = spool.results_folder(job.arrival.uid)
    results.mkdir(parents=True)
    halves = [job.path.with_name(".1.2.dcm.part"), results / ".sc.dcm.part"]
    for half in halves:
        half.write_bytes(b"half")

    with again(spool) as restored:
        assert restored.waiting() == 1
    assert not any(half.exists() for half in halves)


class Killed(BaseException):
    """Here a kill -9 ends the process."""


@pytest.mark.parametrize("end", [Killed, sqlite3.OperationalError])
def test_a_film_that_left_the_disk_and_came_anew_without_a_row_is_not_kept(
    spool, film, monkeypatch, end
) -> None:
    file = film()
    took(spool, file)
    job = spool.claim_film(0)
    spool.finish(job, Outcome("failed", "NOT_READABLE", "It is damaged."))
    assert retire(spool, -1) == 1

    def die(*_: Any) -> None:
        assert job.path.exists()
        raise end

    monkeypatch.setattr(Rows, "add_film", die)
    with pytest.raises((Killed, NoRoom)):
        took(spool, file)
    monkeypatch.undo()
    assert job.path.exists() == (end is Killed)

    with again(spool) as restored:
        assert not job.path.exists(), "nobody heard yes, and nothing would remove it"
        assert took(restored, file) == "stored"
    with again(spool) as restored:
        assert restored.claim_film(0).path.read_bytes() == file


def test_results_that_wait_go_to_the_peers_of_now(spool, film) -> None:
    for uid in ("1.2.3.4", "1.2.3.5"):
        took(spool, film(SOPInstanceUID=uid))
        spool.finish(spool.claim_film(0), GOOD)
    spool.delivered(spool.claim_delivery("archive", 0))
    spool.refuse(spool.claim_delivery(PEER, 0), "PEER_REFUSED_OBJECT", "It takes no SR.")
    spool.close()

    with Spool(spool.folder, ["PACS@moved:104"]) as moved:
        uids = {moved.claim_delivery("PACS@moved:104", 0).uid for _ in range(2)}
        assert uids == {"1.2.3.4", "1.2.3.5"}
        told = spool_status(moved.folder)
        assert told["deliveries"] == {
            "PACS@moved:104": {"waiting": 2},
            "archive": {"delivered": 1},
        }
        assert {row["code"] for row in told["trouble"]} == {"PEER_GONE"}
    with Spool(spool.folder, ["archive"]) as none:
        assert spool_status(none.folder)["films"] == {"analysed": 1, "done": 1}


def test_a_slip_in_the_peers_is_mended_as_its_note_says(spool, film) -> None:
    took(spool, film())
    spool.finish(spool.claim_film(0), GOOD)
    spool.close()
    with Spool(spool.folder, ["OTHER@127.0.0.1:104"]) as slip:
        (gone,) = [row for row in spool_status(slip.folder)["trouble"] if row["sender"] == PEER]
        slip.delivered(slip.claim_delivery("OTHER@127.0.0.1:104", 0))
    assert gone["code"] == "PEER_GONE"
    assert "`cxrclient node retry --delivered-since DATE`" in gone["do"]

    with again(spool) as right:
        assert right.claim_delivery(PEER, 0) is None
        assert retry(right.folder, time.time() - 60) == 2
        assert right.claim_delivery(PEER, 0).outcome == GOOD


def test_what_was_delivered_is_brought_again_to_a_pacs_that_lost_it(spool, film) -> None:
    took(spool, film())
    spool.finish(spool.claim_film(0), GOOD)
    for target in spool.targets:
        spool.delivered(spool.claim_delivery(target, 0))
    assert retry(spool.folder) == 0
    assert retry(spool.folder, time.time() + 60) == 0

    assert retry(spool.folder, time.time() - 60) == 2

    delivery = spool.claim_delivery(PEER, 0)
    assert delivery.ask_first
    spool.delivered(delivery)
    spool.delivered(spool.claim_delivery("archive", 0))
    assert spool_status(spool.folder)["films"] == {"done": 1}


def test_what_was_delivered_is_brought_to_the_targets_of_now_alone(spool, film) -> None:
    took(spool, film())
    spool.finish(spool.claim_film(0), GOOD)
    for target in spool.targets:
        spool.delivered(spool.claim_delivery(target, 0))
    spool.close()

    with Spool(spool.folder, ["PACS@moved:104", "archive"]) as moved:
        assert retry(moved.folder, time.time() - 60) == 2
        assert moved.claim_delivery(PEER, 0) is None, "nobody brings it there"
        for target in moved.targets:
            delivery = moved.claim_delivery(target, 0)
            assert delivery.ask_first
            moved.delivered(delivery)
        assert spool_status(moved.folder)["films"] == {"done": 1}


def test_what_was_given_up_leaves_the_disk_and_is_taken_anew(spool, film) -> None:
    refused, failed = film(SOPInstanceUID="1.2.3.4"), film()
    took(spool, refused)
    spool.finish(spool.claim_film(0), GOOD)
    spool.refuse(spool.claim_delivery(PEER, 0), "PEER_REFUSED_OBJECT", "It takes no SR.")
    took(spool, failed)
    spool.finish(spool.claim_film(0), Outcome("failed", "NOT_READABLE", "It is damaged."))
    assert retire(spool, -1) == 1, "the archive waits for the other"
    spool.delivered(spool.claim_delivery("archive", 0))

    assert retire(spool, -1) == 1

    assert not list(spool.folder.glob("films/*/*"))
    assert retry(spool.folder) == 0, "nothing is left to try"
    assert took(spool, refused) == "again"
    assert took(spool, failed) == "stored"
    spool.close()
    with Spool(spool.folder, ["PACS@moved:104"]) as moved:
        assert moved.claim_delivery("PACS@moved:104", 0) is None, "its files are gone"
        told = spool_status(moved.folder)
        assert told["films"] == {"removed": 1, "waiting": 1}
        assert told["deliveries"][PEER] == {"refused": 0, "removed": 1}


@pytest.mark.parametrize("end", [Spool.refuse, Spool.delivered])
def test_after_a_long_outage_files_stay_from_the_last_that_was_done(spool, film, end) -> None:
    took(spool, film())
    spool.finish(spool.claim_film(0), GOOD)
    spool.delivered(spool.claim_delivery("archive", 0))
    with spool.rows.change() as line:  # all of that was a day ago
        line.execute("UPDATE films SET finished_at = finished_at - 86400")
        line.execute("UPDATE deliveries SET delivered_at = delivered_at - 86400")
    before = time.time()
    end(spool, spool.claim_delivery(PEER, 0), "PEER_REFUSED_OBJECT", "It takes no SR.")

    assert retire(spool, 3600) == 0
    assert retry(spool.folder, before) == 1
    spool.delivered(spool.claim_delivery(PEER, 0))

    assert retire(spool, 3600) == 0
    assert retire(spool, -1) == 1


def test_rows_made_anew_are_in_the_order_of_before(spool, film) -> None:
    uids = [f"1.2.3.{number}" for number in range(9)]
    for at, uid in enumerate(uids):
        took(spool, film(SOPInstanceUID=uid))
        spool.finish(spool.claim_film(0), GOOD)
        os.utime(spool.results_folder(uid) / "outcome.json", (at, at))
    with again(spool, "node.sqlite*") as restored:
        found = restored.rows.all("SELECT uid FROM films ORDER BY seq")
        assert [row["uid"] for row in found] == uids


def test_films_that_are_done_leave_the_disk_and_stay_known(spool, film) -> None:
    file = film()
    took(spool, file)
    job = spool.claim_film(0)
    result = spool.results_folder(job.arrival.uid) / "sr.dcm"
    result.parent.mkdir(parents=True)
    result.write_bytes(b"a result")
    spool.finish(job, GOOD)
    assert retire(spool, 0) == 0, "its results are not delivered"
    for target in spool.targets:
        spool.delivered(spool.claim_delivery(target, 0))

    assert retire(spool, 3600) == 0
    assert retire(spool, -1) == 1

    assert not job.path.exists()
    assert not result.exists()
    with again(spool, "node.sqlite*") as restored:
        assert took(restored, file) == "again"
        assert restored.claim_film(0) is None
        assert restored.claim_delivery(PEER, 0) is None


def test_one_node_has_a_spool_at_a_time(spool, monkeypatch) -> None:
    monkeypatch.setattr(opening, "LOCK_WAIT_S", 0.2)
    with pytest.raises(SpoolUnavailable, match="Another node"):
        Spool(spool.folder)
    assert [row["code"] for row in spool_status(spool.folder)["trouble"]] == ["SECOND_NODE"]
    spool.close()
    Spool(spool.folder).close()
