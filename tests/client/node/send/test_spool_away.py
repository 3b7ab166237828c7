"""A spool that takes no row for a while: couriers live on, and send nothing twice."""

from __future__ import annotations

import sqlite3

from cxrclient.node.send import couriers
from scripted_pacs import Script, scripted_dimse
from waiting import eventually

FULL = (
    "CREATE TEMP TRIGGER full BEFORE UPDATE ON deliveries "
    "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
)


def test_what_was_sent_while_the_spool_could_not_be_told_is_asked_for(office, monkeypatch) -> None:
    monkeypatch.setattr(couriers, "LONGEST_WAIT_S", 0.1)
    script = Script()
    with scripted_dimse(script):
        peer = f"PACS@127.0.0.1:{script.port}"
        office.start(peer)
        office.spool.rows.all(FULL)
        office.film()
        eventually(lambda: script.associations >= 6, "it is not tried again")
        assert len(script.stores) == 3, "it was asked, and has them"

        office.spool.rows.all("DROP TRIGGER full")
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")
    assert len(script.stores) == 3


def test_a_courier_outlives_a_spool_that_cannot_be_read(office, monkeypatch) -> None:
    monkeypatch.setattr(couriers, "_IDLE_S", 0.05)
    script, failed = Script(), []
    with scripted_dimse(script):
        peer = f"PACS@127.0.0.1:{script.port}"
        office.start(peer)
        claim = office.spool.claim_delivery

        def broken(target: str) -> object:
            failed.append(target)
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(office.spool, "claim_delivery", broken)
        eventually(lambda: len(failed) >= 2, "it is not asked again")
        monkeypatch.setattr(office.spool, "claim_delivery", claim)
        office.film()
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")
