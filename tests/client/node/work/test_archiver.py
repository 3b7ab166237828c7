"""Finished films go into the archive, as `cxrclient index` would have put them there."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cxrclient.archive.archive_key import bind_key
from cxrclient.archive.index import SimilarityIndex
from cxrclient.cli.app import app
from cxrclient.errors import UsageError
from cxrclient.node.options import NodeOptions
from cxrclient.node.spool.records import Outcome
from cxrclient.node.work import archiver as module
from cxrclient.node.work.archiver import Archiver
from cxrclient.node.work.child import ChildEnded
from waiting import eventually

KEY = "a key of this test's own"
MODEL = "a" * 64


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_PATIENT_KEY", KEY)


@pytest.fixture
def archiving(node) -> Callable[..., Any]:
    """An archiver of the node's spool, for a block."""

    @contextlib.contextmanager
    def archive(uri: object) -> Iterator[Archiver]:
        archiver = Archiver(NodeOptions(node.folder, (), "", archive_uri=str(uri)), node.spool)
        archiver.start()
        try:
            yield archiver
        finally:
            archiver.stop(30)

    return archive


def delivery(node, uid: str) -> dict[str, Any]:
    return dict(
        node.spool.rows.one("SELECT * FROM deliveries WHERE uid = ? AND target = 'archive'", uid)
    )


def delivered(node, uid: str) -> None:
    eventually(lambda: delivery(node, uid)["state"] == "delivered", lambda: delivery(node, uid))


def finished(node, file: bytes, film_id: str | None = None) -> str:
    """A film that some worker has analysed."""
    uid = node.takes(file)
    record = {
        "path": None,
        "status": "ok",
        "film_id": film_id or uid,
        "probability": 0.25,
        "label": "non-covid",
        "members": {"resnet34": 0.25},
        "votes": 0,
        "lung_fraction": 0.3,
        "flags": [],
        "warnings": [],
        "model": {"name": "made up", "digest": MODEL},
        "latency_ms": 1.0,
        "embedding": [float(number) for number in range(128)],
    }
    job = node.spool.claim_film(0)
    node.spool.finish(job, Outcome("ok", record=record))
    return uid


def rows_of(uri: object) -> list[dict[str, Any]]:
    with SimilarityIndex(uri, model_digest=None) as index:  # type: ignore[arg-type]
        films = [dataclasses.asdict(each) for each in index.films()]
        for each in films:
            near = index.search_id(each["id"], k=4, same_patient=True)
            each["near"] = [(hit.id, hit.distance) for hit in near]
    return sorted(films, key=lambda each: each["id"])


def test_films_are_found_there_as_if_they_had_been_indexed(
    node, working, archiving, triton_server, film, tmp_path
) -> None:
    clothes = {
        "plain": {"PatientID": "4711"},
        "issuer of the patient's number": {"PatientID": "4711"},
        "bad values": {"PatientID": "4712"},
    }
    files = [
        film(name, SOPInstanceUID=f"1.2.826.0.3.{number}", **changes)
        for number, (name, changes) in enumerate(clothes.items())
    ]
    folder = tmp_path / "films"
    folder.mkdir()
    for number, file in enumerate(files):
        (folder / f"{number}.dcm").write_bytes(file)
    options = ["index", str(folder), "--uri", str(tmp_path / "indexed.db")]
    done = CliRunner().invoke(app, [*options, "--server", triton_server.grpc_address])
    assert done.exit_code == 0, done.output

    uids = [node.takes(file) for file in files]
    with working(triton_server.grpc_address), archiving(tmp_path / "node.db"):
        for uid in uids:
            node.ends(uid)
            delivered(node, uid)
        # As after a kill between the archive's answer and the row.
        with node.spool.rows.change() as line:
            line.execute("UPDATE deliveries SET state = 'waiting' WHERE target = 'archive'")
        for uid in uids:
            delivered(node, uid)

    indexed, ours = rows_of(tmp_path / "indexed.db"), rows_of(tmp_path / "node.db")
    assert [each["id"] for each in ours] == sorted(uids)
    for one, other in zip(ours, indexed, strict=True):
        np.testing.assert_array_equal(one.pop("embedding"), other.pop("embedding"))
        assert one == other


def test_an_archive_that_another_has_open_is_waited_for(node, archiving, film, tmp_path) -> None:
    uid = finished(node, film())
    held = SimilarityIndex(tmp_path / "a.db", model_digest=MODEL)
    with archiving(tmp_path / "a.db"):
        with held:
            eventually(lambda: delivery(node, uid)["code"] == "ARCHIVE_AWAY")
            assert len(held) == 0
        delivered(node, uid)
    assert [each["id"] for each in rows_of(tmp_path / "a.db")] == [uid]


def test_a_spool_that_takes_no_row_for_a_while_ends_no_archiver(
    node, archiving, film, tmp_path, monkeypatch
) -> None:
    class Ends:
        """A process that ends over each film."""

        def __init__(self, _program: str) -> None:
            born.append(self)

        def begin(self, _told: object) -> None:
            raise ChildEnded("ended")

        def end(self, _within_s: float) -> str:
            return "ended"

    born: list[Ends] = []
    uid = finished(node, film())
    node.spool.rows.all(
        "CREATE TEMP TRIGGER full BEFORE UPDATE ON deliveries "
        "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    with monkeypatch.context() as patched:
        patched.setattr(module, "Child", Ends)
        with archiving(tmp_path / "a.db"):
            eventually(lambda: len(born) >= 2, "it is not tried again")
            patched.undo()
            node.spool.rows.all("DROP TRIGGER full")
            delivered(node, uid)


def test_another_model_or_key_is_said_and_loses_nothing(node, archiving, film, tmp_path) -> None:
    uid = finished(node, film())
    with SimilarityIndex(tmp_path / "other.db", model_digest="b" * 64):
        pass
    with archiving(tmp_path / "other.db"):
        eventually(lambda: delivery(node, uid)["code"] == "ARCHIVE_MISMATCH")
    with SimilarityIndex(tmp_path / "key.db", model_digest=MODEL) as index:
        bind_key(index, b"a key of somebody else's")
    with archiving(tmp_path / "key.db"):
        eventually(lambda: delivery(node, uid)["code"] == "KEY_MISMATCH")
        assert delivery(node, uid)["state"] == "waiting"
    with archiving(tmp_path / "right.db"):
        delivered(node, uid)


def test_a_key_that_cannot_be_used_is_said_before_a_film_comes(node, monkeypatch) -> None:
    monkeypatch.setenv("CXR_PATIENT_KEY", "short")
    archiver = Archiver(NodeOptions(node.folder, (), "", archive_uri="a.db"), node.spool)
    with pytest.raises(UsageError):
        archiver.start()
    archiver.stop(1)


def test_without_an_archive_nothing_begins(node) -> None:
    archiver = Archiver(NodeOptions(node.folder, (), ""), node.spool)
    archiver.start()
    archiver.stop(1)
