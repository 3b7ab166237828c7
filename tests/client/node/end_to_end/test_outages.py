"""What is away costs nothing but time; a node ends well; no two on one spool."""

from __future__ import annotations

import json

import pytest

from killed_nodes import faults
from many_films import make_films
from node_process import running
from sent_films import Modality
from waiting import eventually


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return make_films(tmp_path_factory.mktemp("films"), 30)


def parts_that_fail(node):
    """Of the readiness, by name."""
    status, body = node.get("health/ready")
    told = json.loads(body)["parts"]
    assert status == 200  # films are taken, whatever is away
    return {name for name, part in told.items() if not part["works"]}


def test_films_come_in_while_the_pacs_is_away_and_go_out_when_it_is_back(
    films, pacs, node_of, wire_to
):
    wire = wire_to(f"127.0.0.1:{pacs.dicom_port}")
    node = node_of(pacs, peers=[f"{pacs.aet}@{wire.address}"])
    with running(node):
        node.wait_ready()
        wire.cut()
        assert len(Modality(node.port, films[:10]).send()) == 10
        eventually(lambda: node.films() == {"analysed": 10})
        eventually(lambda: parts_that_fail(node) == {f"peer {pacs.aet}@{wire.address}"})
        assert faults(pacs, []) == []

        wire.mend()
        eventually(node.is_done)
        eventually(lambda: parts_that_fail(node) == set())
    assert faults(pacs, films[:10]) == []


def test_films_come_in_while_triton_is_away_and_are_analysed_when_it_is_back(
    films, pacs, node_of, wire
):
    node = node_of(pacs, server=wire.address)
    wire.cut()
    with running(node):
        node.wait_accepting()
        assert len(Modality(node.port, films[:10]).send()) == 10
        eventually(lambda: parts_that_fail(node) == {"triton"})
        assert node.films() == {"waiting": 10}

        wire.mend()
        eventually(node.is_done)
    assert faults(pacs, films[:10]) == []


def test_sigterm_in_the_middle_ends_well_and_loses_nothing(films, pacs, node_of):
    node = node_of(pacs)
    modality = Modality(node.port, films[:20], lines=2, a_line=1, pause_s=0.5)
    with running(node):
        node.wait_ready()
        modality.start()
        eventually(lambda: len(modality.acknowledged) >= 2)
        code = node.stop()
        assert not node.is_echoed()
        assert code == 0, node.text()
        eventually(lambda: not node.leaves(), "a child outlives its node")
        assert len(modality.acknowledged) < 20

        node.start()
        modality.join()
        eventually(node.is_done)
    assert faults(pacs, films[:20]) == []


@pytest.mark.slow  # it waits for half a minute
def test_sigterm_ends_a_sender_that_never_pauses(films, pacs, node_of, tmp_path):
    node = node_of(pacs)
    many = make_films(tmp_path / "many", 400)
    modality = Modality(node.port, many, pause_s=0.2)
    with running(node):
        node.wait_ready()
        modality.start()
        eventually(lambda: len(modality.acknowledged) >= 10)
        code = node.stop()
        assert len(modality.acknowledged) < len(many), "the sender had still to go on"
        modality.give_up()
        assert (code, node.leaves()) == (0, False), node.text()

        node.start()
        eventually(node.is_done)
    assert faults(pacs, modality.acknowledged) == []


def test_a_second_node_on_a_spool_ends_and_the_first_goes_on(films, pacs, node_of):
    first = node_of(pacs)
    second = node_of(pacs, name="second", spool=first.spool)
    with running(first):
        first.wait_ready()
        with running(second):
            assert second.process.wait(600) == 1
        assert "SPOOL_UNAVAILABLE: Another node works with the spool" in second.text()

        Modality(first.port, films[:2]).send()
        eventually(first.is_done)
    assert faults(pacs, films[:2]) == []
