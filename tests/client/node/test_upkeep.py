"""What the node does from time to time goes on, whatever the disk does meanwhile."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from cxrclient.node import run
from cxrclient.node.spool.look import spool_status
from finished_films import finish
from small_disks import read_only
from spooled import spool
from waiting import eventually

__all__ = ["spool"]  # a fixture


@pytest.fixture
def keeps_up(spool, monkeypatch):
    """The upkeep of a node with this spool, as in `run_node`, but more often."""
    monkeypatch.setattr(run, "_UPKEEP_S", 0.05)
    ends = threading.Event()
    node = SimpleNamespace(spool=spool, _options=SimpleNamespace(keep_days=-1.0))
    thread = threading.Thread(target=run.Node.keep_up, args=(node, ends))
    yield thread
    ends.set()
    thread.join(60)


def test_upkeep_outlives_a_disk_that_is_read_only(spool, keeps_up) -> None:
    finish(spool, "1.2.3")
    for target in spool.targets:
        spool.delivered(spool.claim_delivery(target, 0))

    def noted() -> int:
        return spool_status(spool.folder)["counts"].get("note:UPKEEP_FAILED", 0)

    with read_only(spool.folder / "films"):
        keeps_up.start()
        eventually(lambda: noted() >= 2, "it is tried again")
        assert keeps_up.is_alive()

    eventually(lambda: not spool.film_path("1.2.3").exists(), "its time is over")
    assert keeps_up.is_alive()


def test_upkeep_puts_room_aside_for_the_next_start(spool, keeps_up) -> None:
    aside = spool.folder / ".room"
    assert aside.stat().st_size == 0, "the start had it"
    keeps_up.start()
    eventually(lambda: aside.stat().st_size == 1 << 20, "there is room")
    assert aside.stat().st_mode & 0o777 == 0o600
