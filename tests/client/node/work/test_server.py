"""How long a server is left alone that does not answer as it should."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cxrclient.node.options import NodeOptions
from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.spool import Spool
from cxrclient.node.work import server as module
from cxrclient.node.work.child import ChildEnded
from cxrclient.node.work.server import Server
from cxrclient.node.work.workers import Workers


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass."""
    now = [1000.0]

    def later(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return later


def is_there() -> None:
    """A look that finds the server."""


def test_one_that_fails_every_film_gets_ever_longer_pauses_of_a_minute_at_most(passes) -> None:
    server = Server("a:1")
    assert not server.state()[0]
    assert server.admits(is_there, 0)
    for pause_s in (1, 2, 4, 8, 16, 32, 60, 60):
        server.pause("TIMEOUT", "No answer.")
        assert server.state() == (False, "TIMEOUT: No answer.")
        passes(pause_s - 0.01)
        assert not server.admits(is_there, 0)
        passes(0.02)
        assert server.admits(is_there, 0)
    server.answered()
    server.pause("TIMEOUT", "No answer.")
    passes(1.01)
    assert server.admits(is_there, 0), "what was answered counts"


def test_one_that_is_away_is_looked_for_every_second_by_one_worker_alone(passes) -> None:
    server = Server("a:1")
    looks = []

    def look() -> tuple[str, str]:
        looks.append(server.admits(is_there, 0))  # as another worker does meanwhile
        return "SERVER_UNREACHABLE", "It is away."

    for _ in range(100):
        assert not server.admits(look, 0)
        assert not server.admits(look, 0)
        passes(1.01)
    assert looks == [False] * 100
    assert server.admits(is_there, 0)
    assert server.state()[0]


def test_one_that_nobody_needs_is_asked_all_the_same(passes) -> None:
    server = Server("a:1")
    assert server.admits(is_there, 0)
    passes(5.01)
    assert not server.admits(lambda: ("SERVER_UNREACHABLE", "It is away."), 0)
    assert server.state() == (False, "SERVER_UNREACHABLE: It is away.")


def test_a_look_that_ends_its_process_leaves_the_next_one_to_others(passes) -> None:
    server = Server("a:1")

    def dies() -> None:
        raise ChildEnded

    with pytest.raises(ChildEnded):
        server.admits(dies, 0)
    passes(1.01)
    assert server.admits(is_there, 0)


def test_a_film_that_fails_while_others_are_answered_pauses_nobody(film, tmp_path) -> None:
    file = film()
    with Spool(tmp_path / "spool") as spool:
        spool.take(arrival_of(file), file)
        workers = Workers(NodeOptions(tmp_path / "spool", (), "a:1"), spool)
        workers._server.answered()
        told = {"fate": "paused", "code": "SERVER_ERROR", "message": "It could not."}
        job = spool.claim_film(0)

        workers._take(job, told)
        assert not workers.server_state()[0], "it may be the server's fault"

        workers._server.answered()  # another film
        workers._take(job, told)
        assert workers.server_state()[0], "it is this film"
