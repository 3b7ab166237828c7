"""What the spool has said yes to survives, whatever of it is lost but the files."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pydicom
import pytest

from clothes import CLOTHES
from cxrclient.errors import FilmError, SpoolUnavailable
from cxrclient.node.spool import spool as module
from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.claims import wait_after
from cxrclient.node.spool.look import retry, spool_status
from cxrclient.node.spool.records import NoRoom, Outcome
from cxrclient.node.spool.spool import Spool
from spooled import GOOD, PEER, again, took


def test_a_film_that_was_taken_is_there_whole_and_waits(spool, film) -> None:
    file = film()
    assert took(spool, file) == "stored"

    job = spool.claim_film(0)

    assert job.path.read_bytes() == file
    assert job.arrival == arrival_of(file, "MODALITY")
    assert job.path.stat().st_mode & 0o777 == 0o600
    assert spool.claim_film(0) is None, "two workers must not have one film"


def test_a_film_is_on_the_disk_with_its_name_and_its_row_before_it_is_taken(
    spool, film, monkeypatch
) -> None:
    synced = []
    fsync = os.fsync

    def kept(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", kept)
    file = film()
    took(spool, file)
    path = spool.film_path(arrival_of(file).uid)
    assert synced == [path.stat().st_ino, path.parent.stat().st_ino]
    assert spool.rows.one("PRAGMA synchronous")[0] == 2, "FULL"
    assert spool.rows.one("PRAGMA journal_mode")[0] == "wal"


def test_the_same_film_is_taken_once_and_other_pixels_never(spool, film) -> None:
    first = film()
    assert took(spool, first) == "stored"
    assert took(spool, first) == "again"
    assert took(spool, film("rle")) == "again", "the same values, encoded otherwise"
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(first))
    other = film(PixelData=bytes(len(dataset.PixelData)))
    assert took(spool, other) == "other_pixels"

    assert spool.film_path(dataset.SOPInstanceUID).read_bytes() == first
    told = spool_status(spool.folder)
    assert told["counts"] == {
        "received:dicom:stored": 1,
        "received:dicom:again": 2,
        "received:dicom:other_pixels": 1,
        "note:OTHER_PIXELS": 1,
    }
    assert [row["code"] for row in told["trouble"]] == ["OTHER_PIXELS"]


def test_a_better_copy_takes_the_place_of_one_that_failed(spool, film) -> None:
    first = film()
    took(spool, first)
    spool.finish(spool.claim_film(0), Outcome("failed", "NOT_READABLE", "It is damaged."))
    assert took(spool, first) == "again"
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(first))
    moved = {"StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.5"}
    better = film(PixelData=bytes(len(dataset.PixelData)), **moved)

    assert took(spool, better) == "stored"

    job = spool.claim_film(0)
    assert job.path.read_bytes() == better
    assert job.arrival == arrival_of(better, "MODALITY"), "its results belong to its own study"
    spool.finish(job, GOOD)
    assert spool.claim_delivery(PEER, 0).study_uid == "1.2.3.4"
    with again(spool, "node.sqlite*") as restored:
        assert restored.claim_delivery(PEER, 0).study_uid == "1.2.3.4"


def test_its_rows_are_for_its_owner_alone(tmp_path) -> None:
    tmp_path.chmod(0o755)
    with Spool(tmp_path) as spool:
        spool.note("CALLER_UNKNOWN", sender="X")
        names = ("node.sqlite", "node.sqlite-wal", "node.sqlite-shm")
        assert [(tmp_path / name).stat().st_mode & 0o777 for name in names] == [0o600] * 3


def test_a_film_is_done_when_every_target_has_its_results(spool, film) -> None:
    took(spool, film())
    spool.finish(spool.claim_film(0), GOOD)
    spool.delivered(spool.claim_delivery(PEER, 0))
    assert spool_status(spool.folder)["films"] == {"analysed": 1}

    spool.delivered(spool.claim_delivery("archive", 0))

    told = spool_status(spool.folder)
    assert told["films"] == {"done": 1}
    assert told["deliveries"] == {PEER: {"delivered": 1}, "archive": {"delivered": 1}}


def test_only_what_has_an_embedding_goes_to_the_archive(spool, film) -> None:
    took(spool, film())
    rejected = Outcome("rejected", "NO_LUNGS", "No lungs.", {"status": "rejected"}, GOOD.objects)
    spool.finish(spool.claim_film(0), rejected)
    assert spool.claim_delivery("archive", 0) is None
    assert spool.claim_delivery(PEER, 0).outcome == rejected


def test_what_is_put_off_waits_ever_longer_and_comes_again(spool, film, monkeypatch) -> None:
    took(spool, film())
    job = spool.claim_film(0)
    monkeypatch.setattr(module, "wait_after", lambda _attempts: 0.0)
    spool.put_off(job, "WORKER_DIED", "It died.", blame=True)
    assert spool.claim_film(0).attempts == 1
    monkeypatch.undo()
    assert [wait_after(count) for count in (0, 1, 5, 6, 99)] == [1, 2, 32, 60, 60]


def test_what_was_sent_but_not_found_is_known_to_be_until_it_is_tried_anew(
    spool, film, monkeypatch
) -> None:
    monkeypatch.setattr(module, "wait_after", lambda _attempts: 0.0)
    took(spool, film())
    spool.finish(spool.claim_film(0), GOOD)
    first = spool.claim_delivery(PEER, 0)
    assert not first.sent
    spool.delay(first, "PEER_UNREACHABLE", "It is away.", at_once=True)
    second = spool.claim_delivery(PEER, 0)
    assert (second.sent, second.ask_first, second.attempts) == (False, True, 0)
    spool.delay(second, "PEER_LACKS", "It lacks it.", sent=True)
    third = spool.claim_delivery(PEER, 0)
    assert (third.sent, third.attempts) == (True, 1)
    spool.delay(third, "PEER_BUSY", "It is full.")
    with again(spool) as restored:
        fourth = restored.claim_delivery(PEER, 0)
        assert fourth.sent, "a later delay, and a start, do not forget it"
        restored.refuse(fourth, "PEER_REFUSED_OBJECT", "It takes no SR.")
        assert retry(restored.folder) == 1
        assert not restored.claim_delivery(PEER, 0).sent


def test_who_waits_for_work_goes_at_once_when_the_node_ends(spool) -> None:
    got = []
    waits = threading.Thread(target=lambda: got.append(spool.claim_delivery(PEER, 3600)))
    waits.start()
    while waits.is_alive():  # whether it waits already or not
        spool.wake()
        waits.join(0.05)
    assert got == [None]


def test_a_film_that_failed_gives_way_to_one_that_never_did(spool, film, monkeypatch) -> None:
    took(spool, film(SOPInstanceUID="1.2.3.4"))
    monkeypatch.setattr(module, "wait_after", lambda _attempts: 0.0)
    spool.put_off(spool.claim_film(0), "SERVER_ERROR", "The server cannot.")
    took(spool, film(SOPInstanceUID="1.2.3.5"))
    assert [spool.claim_film(0).arrival.uid for _ in range(2)] == ["1.2.3.5", "1.2.3.4"]


def test_a_film_under_another_study_is_noted(spool, film) -> None:
    took(spool, film())
    assert took(spool, film(StudyInstanceUID="1.2.3.4")) == "again"
    assert [row["code"] for row in spool_status(spool.folder)["trouble"]] == ["STUDY_CHANGED"]


def test_what_failed_or_was_refused_is_tried_again_when_asked(spool, film) -> None:
    took(spool, film())
    took(spool, film(SOPInstanceUID="1.2.3.4"))
    spool.finish(spool.claim_film(0), Outcome("failed", "NOT_READABLE", "It is damaged."))
    spool.finish(spool.claim_film(0), GOOD)
    spool.refuse(spool.claim_delivery(PEER, 0), "PEER_REFUSED_OBJECT", "It takes no SR.")
    trouble = {row["code"]: row for row in spool_status(spool.folder)["trouble"]}
    assert set(trouble) == {"NOT_READABLE", "PEER_REFUSED_OBJECT"}
    assert all(row["do"].endswith(".") for row in trouble.values())

    assert retry(spool.folder) == 2

    assert spool.claim_film(0) is not None
    assert spool.claim_delivery(PEER, 0).ask_first
    with again(spool) as restored:  # and a kill now does not bring the failure back
        assert restored.claim_film(0) is not None


@pytest.mark.parametrize(
    ("options", "code"), [({"min_free_bytes": 1 << 60}, "LOW_DISK"), ({"queue": 0}, "QUEUE_FULL")]
)
def test_without_room_nothing_is_taken(tmp_path, film, options, code) -> None:
    with Spool(tmp_path / "spool", **options) as spool, pytest.raises(NoRoom) as told:
        took(spool, film())
    assert told.value.code == code
    assert not list(spool.folder.glob("films/*/*"))


def test_a_disk_that_refuses_leaves_nothing_behind(spool, film, monkeypatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoRoom) as told:
        took(spool, film())
    monkeypatch.undo()
    assert told.value.code == "SPOOL_FAILED"
    assert not [path for path in spool.folder.glob("films/*/*") if path.is_file()]
    assert took(spool, film()) == "stored"


def test_two_senders_of_one_film_store_it_once(spool, film) -> None:
    file, told = film(), []
    threads = [threading.Thread(target=lambda: told.append(took(spool, file))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["again"] * 7 + ["stored"]
    assert spool.waiting() == 1


def test_who_waits_for_a_film_has_it_at_once(spool, film) -> None:
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(spool.claim_film(600)))
    waiting.start()
    took(spool, film())
    waiting.join(60)
    assert found[0].arrival.sender == "MODALITY"


@pytest.mark.parametrize("clothes", CLOTHES)
def test_a_film_in_any_clothes_has_an_arrival(film, clothes) -> None:
    plain, worn = arrival_of(film()), arrival_of(film(clothes))
    assert (worn.uid, worn.study_uid) == (plain.uid, plain.study_uid)


@pytest.mark.parametrize("change", [{"StudyInstanceUID": ""}, {"StudyInstanceUID": "1.2.03"}])
def test_a_film_without_a_study_is_none_of_ours(film, change) -> None:
    with pytest.raises(FilmError) as told:
        arrival_of(film(**change))
    assert told.value.code == "NO_STUDY"


def test_a_look_where_there_is_no_spool_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable, match="no spool"):
        spool_status(tmp_path)
