"""A node killed at random moments while films come in, and what its PACS has in the end."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

from many_films import SentFilm
from node_process import NodeProcess
from orthanc import Pacs
from sent_films import Modality
from waiting import eventually

THREE = {"SR": 1, "SEG": 1, "OT": 1}
"""Modality → how many: a Secondary Capture has OT."""


@dataclass(frozen=True)
class Trial:
    """What happened.

    Attributes:
        acknowledged: films that the node said yes to.
        answers: what the sender heard → how often.
        kills: of the node.
        seconds: from the first start to the last delivery.
    """

    acknowledged: list[SentFilm]
    answers: dict[object, int]
    kills: int
    seconds: float


def through_kills(
    node: NodeProcess,
    films: list[SentFilm],
    kills: int,
    *,
    at_start: float = 0.25,
    seed: int | None = None,
) -> Trial:
    """Send films while the node is killed -9, and wait until all that it has is delivered.

    Some kills take the node's children with it, others leave them to end by themselves.

    Args:
        node: it is not started yet.
        films: to send; the kills come while they do, as far as the machine lets them.
        kills: how many.
        at_start: share of the kills that do not wait until the node says yes to a film.
        seed: of the moments; None: another one each time, which is printed.
    """
    seed = random.randrange(2**32) if seed is None else seed
    chance = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201  # pytest shows it where the test fails
    began = time.monotonic()
    modality = Modality(
        node.port, films, lines=2, http_port=node.http_port, pause_s=1.5 * kills * 2 / len(films)
    )
    node.start()
    modality.start()
    for _ in range(kills):
        if chance.random() >= at_start:
            before = len(modality.acknowledged)
            node.wait_accepting()
            eventually(lambda n=before: min(n + 1, len(films)) <= len(modality.acknowledged))
        time.sleep(chance.uniform(0.0, 2.0))
        node.kill(group=chance.random() < 0.5)
        node.start()
    modality.join()
    while not node.is_done():
        done = node.films().get("done", 0)
        eventually(lambda done=done: node.is_done() or node.films().get("done", 0) > done)
    trial = Trial(modality.acknowledged, dict(modality.answers), kills, time.monotonic() - began)
    print(f"{kills} kills, {trial.seconds:.0f} s, answers {trial.answers}")  # noqa: T201
    return trial


def faults(pacs: Pacs, acknowledged: Iterable[SentFilm]) -> list[str]:
    """What is wrong in a PACS that should have exactly the three objects of each of these films."""
    found, wrong = pacs.results(), []
    for film in acknowledged:
        objects = dict(found.pop(film.study_uid, {}))
        for kind, many in THREE.items():
            there = objects.pop(kind, 0)
            if there < many:
                wrong.append(f"lost: {kind} of {film.path.name}")
            if there > many:
                wrong.append(f"twice: {kind} of {film.path.name}, {there} of them")
        wrong += [f"other: {kind} of {film.path.name}" for kind in objects]
    return wrong + [f"other: study {uid}" for uid in found]
