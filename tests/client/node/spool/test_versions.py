"""A spool of another version of cxr-triton: made anew of its files, or left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from cxrclient.errors import SpoolUnavailable
from cxrclient.node.spool.look import retry, spool_status
from cxrclient.node.spool.records import Outcome
from cxrclient.node.spool.rows import VERSION
from cxrclient.node.spool.spool import Spool
from spooled import GOOD, PEER, again, took

OTHER_COLUMNS = "DROP INDEX films_by_day; ALTER TABLE films DROP COLUMN distance;"
SAME_COLUMNS = "DROP INDEX films_by_end; DROP TABLE targets;"


@pytest.fixture
def of_version(spool, film):
    """Films that wait, are delivered and have failed, and a note; then rows of another version."""

    def make(version, how=OTHER_COLUMNS):
        for number in range(3):
            took(spool, film(SOPInstanceUID=f"1.2.3.{number}"))
        spool.finish(spool.claim_film(0), GOOD)
        for target in spool.targets:
            spool.delivered(spool.claim_delivery(target, 0))
        spool.finish(spool.claim_film(0), Outcome("failed", "NOT_READABLE", "It is damaged."))
        spool.note("CALLER_UNKNOWN", sender="STRANGER")
        spool.close()
        with closing(sqlite3.connect(spool.folder / "node.sqlite")) as line, line:
            line.executescript(f"{how} PRAGMA user_version = {version}")

    return make


def tables(spool):
    with closing(sqlite3.connect(spool.folder / "node.sqlite")) as line:
        return list(line.iterdump())


def test_rows_of_an_older_version_are_made_anew_and_counts_and_notes_stay(spool, of_version):
    of_version(0)
    with again(spool) as node:
        told = spool_status(node.folder)
        assert told["films"] == {"waiting": 1, "analysed": 1, "failed": 1}
        assert told["counts"] == {"received:dicom:stored": 3, "note:CALLER_UNKNOWN": 1}
        assert {row["code"] for row in told["trouble"]} == {"NOT_READABLE", "CALLER_UNKNOWN"}
        assert node.claim_delivery(PEER, 0).ask_first, "it has its results"
        node.finish(node.claim_film(0), GOOD)
    with again(spool) as node:
        assert spool_status(node.folder)["films"] == {"analysed": 2, "failed": 1}


def test_rows_of_an_older_version_with_the_same_columns_stay(spool, film, of_version):
    took(spool, film(SOPInstanceUID="1.2.4"))
    spool.finish(spool.claim_film(0), GOOD)
    spool.delivered(spool.claim_delivery("archive", 0))
    spool.delay(spool.claim_delivery(PEER, 0), "PEER_CANNOT_ASK", "It was sent.", sent=True)
    of_version(0, SAME_COLUMNS)
    before = tables(spool)
    with again(spool) as node:
        assert {row for row in before if row.startswith("INSERT")} <= set(tables(spool))
        assert node.claim_delivery("archive", 0) is None, "nobody is asked anew"
        delivery = node.claim_delivery(PEER, 60)
        assert (delivery.uid, delivery.sent) == ("1.2.4", True)
        node.delivered(delivery)
        assert node.claim_delivery(PEER, 0) is None
        told = spool_status(node.folder)
        assert told["films"] == {"waiting": 1, "done": 2, "failed": 1}
        assert told["counts"] == {"received:dicom:stored": 4, "note:CALLER_UNKNOWN": 1}
    made = {row for row in tables(spool) if row.startswith("CREATE")}
    with Spool(spool.folder.with_name("new")) as new:
        assert made == {row for row in tables(new) if row.startswith("CREATE")}


def test_rows_of_a_newer_version_are_left_alone(spool, of_version):
    of_version(VERSION + 1)
    before = tables(spool)
    with pytest.raises(SpoolUnavailable, match=r"newer cxr-triton\. Use that one"):
        Spool(spool.folder)
    assert tables(spool) == before
    assert not list(spool.folder.glob("damaged*"))

    with again(spool, "node.sqlite*") as node:  # as the message says
        assert spool_status(node.folder)["films"] == {"waiting": 1, "analysed": 1, "failed": 1}


@pytest.mark.parametrize(("version", "whose"), [(0, "an older"), (VERSION + 1, "a newer")])
def test_who_looks_from_beside_changes_no_rows_of_another_version(
    spool, of_version, version, whose
):
    of_version(version)
    before = tables(spool)
    for look in (spool_status, retry):
        with pytest.raises(SpoolUnavailable, match=f"of {whose} cxr-triton"):
            look(spool.folder)
    assert tables(spool) == before
