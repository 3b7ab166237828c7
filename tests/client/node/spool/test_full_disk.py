"""A full disk: results do not fill it, retention makes room, and a kill at any moment is safe."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrclient.errors import SpoolUnavailable
from cxrclient.node.spool import room
from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.look import retry, spool_status
from cxrclient.node.spool.records import NoRoom
from cxrclient.node.spool.retention import retire
from cxrclient.node.spool.spool import Spool
from small_disks import fill, small_disk
from spooled import GOOD, PEER, again, took

__all__ = ["small_disk"]  # a fixture
RESULTS = tuple(
    replace(GOOD.objects[0], kind=kind, uid=f"1.2.{number}", file=f"{kind}.dcm")
    for number, kind in enumerate(("sr", "seg", "sc"))
)


def delivered(spool: Spool, file: bytes) -> str:
    """Let a film come, be analysed, and its results be everywhere; gives its UID."""
    took(spool, file)
    job = spool.claim_film(0)
    folder = spool.results_folder(job.arrival.uid)
    folder.mkdir(parents=True)
    for each in RESULTS:
        (folder / each.file).write_bytes(bytes(100_000))
    spool.finish(job, replace(GOOD, objects=RESULTS))
    for target in spool.targets:
        spool.delivered(spool.claim_delivery(target, 0))
    return job.arrival.uid


def files(spool: Spool) -> set[str]:
    """Names of films and results on the disk."""
    found = [*spool.folder.glob("films/*/*"), *spool.folder.glob("results/*/*/*")]
    return {path.name for path in found}


def test_retention_makes_room_on_a_disk_that_is_full(small_disk, film) -> None:
    with Spool(small_disk / "spool", [PEER], min_free_bytes=0) as spool:
        delivered(spool, film())
        delivered(spool, film(SOPInstanceUID="1.2.3.4"))
        fill(small_disk)

        assert retire(spool, -1) == 2

        assert files(spool) == {"outcome.json"}
        assert spool_status(spool.folder)["films"] == {"done": 2}
        assert took(spool, film()) == "again", "it stays known"


def test_a_node_starts_on_a_disk_that_was_filled_while_it_was_away(small_disk, film) -> None:
    with Spool(small_disk / "spool", [PEER], min_free_bytes=0) as spool:
        delivered(spool, film())
    fill(small_disk)

    with again(spool) as restarted:
        assert retire(restarted, -1) == 1
        assert files(restarted) == {"outcome.json"}


def test_each_start_on_a_full_disk_has_room_of_its_own(small_disk, film) -> None:
    with Spool(small_disk / "spool", [PEER], min_free_bytes=0) as spool:
        for number in range(3):
            delivered(spool, film(SOPInstanceUID=f"1.2.3.{number}"))
    fill(small_disk)
    for _ in range(3):
        again(spool).close()
        fill(small_disk)

    with again(spool) as restarted:
        assert retire(restarted, -1) == 3


def test_a_start_without_any_room_says_that_the_disk_is_full(small_disk, film) -> None:
    with Spool(small_disk / "spool", [PEER], min_free_bytes=0) as spool:
        delivered(spool, film())
    (spool.folder / room.ROOM_TO_START).unlink()
    ballast = fill(small_disk)

    for look in (again, lambda spool: spool_status(spool.folder)):
        with pytest.raises(SpoolUnavailable, match="the disk is full"):
            look(spool)

    ballast.unlink()
    again(spool).close()


class Killed(BaseException):
    """Here a kill -9 ends the process."""


@pytest.mark.parametrize("lost", [(), ("node.sqlite*",)], ids=["rows", "no rows"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_kill_while_files_are_removed_leaves_no_half_results(
    spool, film, monkeypatch, at, lost
) -> None:
    file = film()
    uid = delivered(spool, file)
    unlink, removed = Path.unlink, []

    def unlink_and_die(path: Path, **options: Any) -> None:
        unlink(path, **options)
        removed.append(path)
        if len(removed) == at:
            raise Killed

    monkeypatch.setattr(Path, "unlink", unlink_and_die)
    with pytest.raises(Killed):
        retire(spool, -1)
    monkeypatch.undo()

    with again(spool, *lost) as restored:
        if not lost:
            assert retry(restored.folder, 0) == 0
        for target in restored.targets:
            delivery = restored.claim_delivery(target, 0)
            if delivery is not None:  # the rows are lost, and all of its results are there
                assert {each.file for each in RESULTS} <= files(restored)
                restored.delivered(delivery)
        retire(restored, -1)
        assert files(restored) == {"outcome.json"}
        assert restored.rows.one("SELECT retired FROM films WHERE uid = ?", uid)[0] == 1
        assert took(restored, file) == "again"


def test_files_that_are_gone_without_a_row_are_not_tried_again(spool, film) -> None:
    delivered(spool, film())
    spool.rows.all(
        "CREATE TEMP TRIGGER full BEFORE UPDATE OF retired ON films "
        "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    with pytest.raises(sqlite3.Error, match="is full"):
        retire(spool, -1)
    assert files(spool) == {"outcome.json"}

    assert retry(spool.folder, 0) == 0

    spool.rows.all("DROP TRIGGER full")
    assert retire(spool, -1) == 1


def test_a_film_that_cannot_be_removed_keeps_no_other(spool, film, monkeypatch) -> None:
    uids = [delivered(spool, film(SOPInstanceUID=f"1.2.3.{number}")) for number in range(3)]
    unlink = Path.unlink

    def broken(path: Path, **options: Any) -> None:
        if path.stem == uids[0]:
            raise OSError(5, "Input/output error")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", broken)
    with pytest.raises(OSError, match="Input/output"):
        retire(spool, -1)

    assert files(spool) == {f"{uids[0]}.dcm", *(each.file for each in RESULTS), "outcome.json"}


def test_a_better_copy_that_comes_while_files_are_removed_is_kept(spool, film, monkeypatch) -> None:
    took(spool, film())
    spool.finish(spool.claim_film(0), replace(GOOD, status="failed", objects=()))
    better = film("rle", StudyInstanceUID="1.2.3.4")
    found = Spool.alone

    def just_before(spool: Spool, uid: str) -> Any:
        if spool.waiting() == 0:
            assert took(spool, better) == "stored"
        return found(spool, uid)

    monkeypatch.setattr(Spool, "alone", just_before)
    assert retire(spool, -1) == 0

    assert spool.claim_film(0).path.read_bytes() == better


def test_films_wait_while_their_results_could_fill_the_disk(small_disk, film) -> None:
    with Spool(small_disk / "spool", [PEER], min_free_bytes=4_000_000) as spool:
        delivered(spool, film())
        took(spool, film(SOPInstanceUID="1.2.3.4"))
        spool.finish(spool.claim_film(0), GOOD)
        took(spool, film(SOPInstanceUID="1.2.3.5"))
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(12_000_000))

        assert spool.claim_film(0) is None
        assert spool.claim_film(0) is None
        delivery = spool.claim_delivery(PEER, 0)
        assert delivery is not None, "results that are there go out"
        told = [row for row in spool_status(spool.folder)["causes"] if row["code"] == "WORK_WAITS"]
        assert [row["count"] for row in told] == [1]

        spool.delivered(delivery)
        ballast.unlink()
        assert spool.claim_film(0).arrival.uid == "1.2.3.5"


def test_nothing_is_sent_while_no_row_could_tell_of_it(small_disk, film) -> None:
    with Spool(small_disk / "spool", [PEER], min_free_bytes=0) as spool:
        took(spool, film())
        spool.finish(spool.claim_film(0), GOOD)
        ballast = fill(small_disk)
        assert spool.claim_delivery(PEER, 0) is None
        ballast.unlink()
        assert spool.claim_delivery(PEER, 0) is not None


def test_intake_leaves_room_for_the_results_of_films_that_wait(
    small_disk, film, monkeypatch
) -> None:
    monkeypatch.setattr(room, "RESULTS_BYTES", 6_000_000)
    names = iter(range(9))
    with Spool(small_disk / "spool", [PEER], min_free_bytes=4_000_000) as spool:

        def came() -> str:
            file = film(SOPInstanceUID=f"1.2.3.{next(names)}")
            return spool.take(arrival_of(file), file)

        assert [came(), came()] == ["stored", "stored"]
        with pytest.raises(NoRoom, match="LOW_DISK"):
            came()
        spool.finish(spool.claim_film(0), GOOD)
        assert came() == "stored"
