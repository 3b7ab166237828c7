"""Acknowledged is durable, and results are there once, however often the node is killed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from killed_nodes import Trial, faults, through_kills
from many_films import SentFilm, identity_of, make_films, words_in, words_of
from node_process import NodeProcess, running
from orthanc import Pacs
from sent_films import Modality
from waiting import eventually

TOKEN = "a-token-of-this-test"
FORGETFUL = """
# Acknowledges from memory all but the first film: each is written later than the next kill.
import sys, threading
if "run" in sys.orig_argv:
    from cxrclient.node.spool.spool import Spool
    take = Spool.take
    def take_later(self, arrival, file):
        if self.rows.one("SELECT 1 FROM films") is None:  # with none at all nobody would be done
            return take(self, arrival, file)
        later = threading.Timer(3, lambda: take(self, arrival, bytes(file)))
        later.daemon = True
        later.start()
        return "stored"
    Spool.take = take_later
"""
RANDOM_UIDS = """
# Gives each object a UID of its own whenever it is made.
import uuid
import cxrclient.dicom_results.uids as uids
uids.uid_of = lambda kind, *parts: f"2.25.{uuid.uuid4().int}"
"""


@dataclass(frozen=True)
class Story:
    """A node with 200 films and 8 kills behind it, which runs."""

    pacs: Pacs
    node: NodeProcess
    films: list[SentFilm]
    trial: Trial
    folder: Path


def every_acknowledged_film_has_its_three_objects_once(story: Story) -> list[str]:
    assert {film.uid for film in story.trial.acknowledged} == {film.uid for film in story.films}
    assert len(story.node.groups) == 8 + 1  # lives
    return faults(story.pacs, story.trial.acknowledged)


def an_object_has_the_identity_of_its_film_whatever_its_header_is_like(story: Story) -> list[str]:
    by_study = {film.study_uid: film for film in story.films[:17]}
    assert len({film.clothes for film in by_study.values()}) == 17

    right, wrong = 0, []
    for study in story.pacs.get("studies?expand"):
        film = by_study.get(study["MainDicomTags"]["StudyInstanceUID"])
        for instance in story.pacs.get(f"studies/{study['ID']}/instances") if film else ():
            if identity_of(story.pacs.read(f"instances/{instance['ID']}/file")) == film.identity():
                right += 1
            else:
                wrong.append(film.clothes)
    return wrong or ["lost"] * (right != 3 * 17)


def films_that_come_again_make_nothing_new(story: Story) -> list[str]:
    again = Modality(story.node.port, story.films, http_port=story.node.http_port)

    assert len(again.send()) == len(story.films)
    eventually(story.node.is_done)
    return faults(story.pacs, story.films)


def a_node_that_starts_again_is_ready_and_makes_nothing_new(story: Story) -> list[str]:
    code = story.node.stop()
    assert code == 0
    story.node.start()
    story.node.wait_ready()

    eventually(story.node.is_done)
    return faults(story.pacs, story.films)


def nothing_that_nodes_write_has_patient_data(story: Story) -> list[str]:
    words = words_of(story.films)
    assert words_in(story.films[0].path.read_bytes(), words)  # the search finds

    written = {"status": story.node.status()}
    for folder in (story.folder / "node", story.folder / "new"):
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix != ".dcm":
                written[path.name] = written.get(path.name, b"") + path.read_bytes()
    for path in ("metrics", "health/live", "health/ready", "drift", "results?limit=1000"):
        status, written[path] = story.node.get(path, Authorization=f"Bearer {TOKEN}")
        assert status == 200, path
    assert b" DEBUG " in written["node.log"]
    assert story.films[0].uid.encode() in written["results?limit=1000"]
    return [f"{word!r} in {name}" for name in written for word in words_in(written[name], words)]


def a_node_with_a_new_spool_makes_the_same_objects_again(story: Story) -> list[str]:
    web = f"http://127.0.0.1:{story.pacs.http_port}/dicom-web"
    node = NodeProcess(story.folder / "new", story.node.server, [*story.node.peers, web])
    with running(node):
        Modality(node.port, story.films[:20]).send()
        eventually(node.is_done)
    return faults(story.pacs, story.films)


RULES = (
    every_acknowledged_film_has_its_three_objects_once,
    an_object_has_the_identity_of_its_film_whatever_its_header_is_like,
    films_that_come_again_make_nothing_new,
    a_node_that_starts_again_is_ready_and_makes_nothing_new,
    a_node_with_a_new_spool_makes_the_same_objects_again,
    nothing_that_nodes_write_has_patient_data,
)
"""They share the 200 films and 8 kills: pytest-xdist would have several workers make them."""


def test_a_node_that_is_killed_again_and_again_keeps_its_rules(node_of, pacs, tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    films = make_films(tmp_path / "films", 200)
    node = node_of(pacs, more=("-vv", "--results-token-file", str(token)))
    trial = through_kills(node, films, kills=8)
    story = Story(pacs, node, films, trial, tmp_path)

    told = {rule.__name__: rule(story) for rule in RULES}

    assert {name: wrong for name, wrong in told.items() if wrong} == {}


def mutant(folder: Path, code: str) -> dict[str, str]:
    """Variables with which Python is changed before anything runs."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))}


def test_a_node_that_acknowledges_from_memory_is_found_out(node_of, pacs, tmp_path):
    films = make_films(tmp_path / "films", 60)
    node = node_of(pacs, environment=mutant(tmp_path / "mutant", FORGETFUL))

    trial = through_kills(node, films, kills=3, at_start=0.0)

    wrong = faults(pacs, trial.acknowledged)
    assert len(trial.acknowledged) == len(films)
    assert [each for each in wrong if each.startswith("lost: ")], wrong
    assert [each for each in wrong if not each.startswith("lost: ")] == []


def test_a_node_with_random_uids_is_found_out(node_of, pacs, tmp_path):
    films = make_films(tmp_path / "films", 6)
    environment = mutant(tmp_path / "mutant", RANDOM_UIDS)
    for life in ("first", "second"):  # the second has a new spool
        node = node_of(pacs, name=life, environment=environment)
        with running(node):
            Modality(node.port, films).send()
            eventually(node.is_done)

    wrong = faults(pacs, films)
    assert len(wrong) == 3 * len(films)
    assert all(each.startswith("twice: ") for each in wrong)


@pytest.mark.slow
def test_a_thousand_films_and_twenty_kills(node_of, pacs, tmp_path):
    films = make_films(tmp_path / "films", 1000)

    trial = through_kills(node_of(pacs, more=()), films, kills=20)

    assert len(trial.acknowledged) == len(films)
    assert faults(pacs, trial.acknowledged) == []
