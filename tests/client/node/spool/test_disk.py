"""A disk that takes nothing is seen, and what it refuses is told then and afterwards."""

from __future__ import annotations

import pytest

from cxrclient.node.spool import disk
from cxrclient.node.spool.look import spool_status
from cxrclient.node.spool.records import NoRoom
from full_disk import no_byte_can_be_written
from spooled import again, took

REFUSED = "note:SPOOL_FAILED"


def refuse(spool, films):
    """Let a node refuse films, as its intake does; gives the codes."""
    codes = []
    for file in films:
        with pytest.raises(NoRoom) as told:
            took(spool, file)
        codes.append(told.value.code)
        spool.note(told.value.code, sender="MODALITY")
    return codes


def test_a_disk_that_refuses_is_seen_without_a_film_and_so_is_its_recovery(spool, monkeypatch):
    monkeypatch.setattr(disk, "TRY_EVERY_S", 0.0)
    spool.require_room()
    with no_byte_can_be_written(), pytest.raises(NoRoom, match="SPOOL_FAILED"):
        spool.require_room()
    spool.require_room()
    assert [path for path in spool.folder.glob("films/*") if path.is_file()] == []


def test_what_was_written_last_says_so_until_a_film_is_written(spool, film, monkeypatch):
    monkeypatch.setattr(disk, "TRY_EVERY_S", 1e9)
    with no_byte_can_be_written():
        spool.require_room()  # not tried at each probe
        assert refuse(spool, [film()]) == ["SPOOL_FAILED"]
    with pytest.raises(NoRoom, match="SPOOL_FAILED"):
        spool.require_room()
    assert took(spool, film()) == "stored"
    spool.require_room()


def test_refusals_are_counted_while_no_row_can_be_written_and_are_rows_afterwards(spool, film):
    with no_byte_can_be_written():
        refuse(spool, [film()] * 4)
        assert spool.counts()[REFUSED] == 4
        assert REFUSED not in spool_status(spool.folder)["counts"], "the disk takes it: no test"
    assert took(spool, film()) == "stored"

    told = spool_status(spool.folder)
    assert told["counts"] == spool.counts()
    assert told["counts"][REFUSED] == 4
    assert [row["code"] for row in told["trouble"]] == ["SPOOL_FAILED"] * 4


@pytest.mark.parametrize("how", ["a probe", "the end"])
def test_they_are_rows_without_another_film(spool, film, monkeypatch, how):
    with no_byte_can_be_written():
        refuse(spool, [film()])
    monkeypatch.setattr(disk, "TRY_EVERY_S", 0.0)
    if how == "a probe":
        spool.require_room()
    else:
        again(spool).close()
    assert spool_status(spool.folder)["counts"][REFUSED] == 1
