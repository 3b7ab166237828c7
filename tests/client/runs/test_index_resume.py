"""`cxrclient index --resume`: what the archive has is not predicted again, and nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrclient import CxrClient
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.metadata import FilmMetadata
from cxrclient.cli.app import app
from cxrclient.errors import FilmError
from cxrclient.runs.index_journal import IndexJournal, journal_path
from cxrclient.runs.journal import Conditions, file_identity
from waiting import eventually, programs_with

COMMAND = str(Path(sys.executable).with_name("cxrclient"))
COUNT = 3


@pytest.fixture
def films(tmp_path, drawn_film, write_dicom):
    """A folder of three films, and a damaged one."""
    folder = tmp_path / "ZORN^ANNA"
    folder.mkdir()
    for number in range(COUNT):
        write_dicom(folder / f"{number}.dcm", drawn_film(number))
    (folder / "bad.dcm").write_bytes(b"")
    return folder


@pytest.fixture
def index(triton_server, films, tmp_path, monkeypatch):
    """Runs the command; returns its summary."""
    monkeypatch.setenv("CXR_PATIENT_KEY", "a secret of this test")

    def run(*options):
        command = ["index", films, "--uri", tmp_path / "cxr.db", "--no-gate", *options]
        command += ["--server", triton_server.grpc_address, "--summary", tmp_path / "run.json"]
        done = CliRunner().invoke(app, list(map(str, command)))
        assert done.exit_code == 3, done.output  # the damaged film
        return json.loads((tmp_path / "run.json").read_text())

    return run


def fates(told):
    return told["sent"]["films"], told["archive"]["films"], told["films"]["rejected"]


def test_what_the_archive_has_is_not_predicted_again_with_journal_or_without(index, tmp_path):
    assert fates(index()) == (COUNT, COUNT, 1)
    assert fates(index("--resume")) == (0, COUNT, 1)
    journal = tmp_path / "cxr.db.journal"
    assert b"ZORN" not in journal.read_bytes()  # the folder's name
    assert journal.stat().st_mode & 0o077 == 0
    journal.unlink()
    assert fates(index("--resume")) == (0, COUNT, 1)


def test_the_summary_says_what_was_predicted_of_this_runs_films(index):
    told = index()
    assert sum(told["labels"].values()) == COUNT
    assert 0 < told["latency_ms"]["mean"] <= told["latency_ms"]["max"]
    again = index("--resume")
    assert (again["labels"], again["latency_ms"]["max"]) == ({}, None)


@pytest.mark.slow
def test_a_film_that_the_archive_lost_is_predicted_whatever_the_journal_says(index, tmp_path):
    index()
    (tmp_path / "cxr.db").unlink()
    assert fates(index("--resume")) == (COUNT, COUNT, 1)


def test_a_changed_file_is_predicted_again_and_its_film_written_over(
    index, films, tmp_path, drawn_film, write_dicom, triton_server
):
    index()
    write_dicom(films / "0.dcm", drawn_film(77))  # the same SOP Instance UID
    assert fates(index("--resume")) == (1, COUNT, 1)
    with (
        CxrClient(triton_server.grpc_address, gate=False) as cxr,
        SimilarityIndex(tmp_path / "cxr.db", model_digest=cxr.model.digest) as archive,
    ):
        nearest = archive.search(cxr.predict(films / "0.dcm").embedding, 1)[0]
    assert nearest.distance == pytest.approx(0, abs=1e-3)


@pytest.mark.slow
def test_a_changed_row_of_the_metadata_is_written(index, films, tmp_path):
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("image,label\n0.dcm,covid\n1.dcm,covid\n")
    index("--metadata", metadata)
    assert fates(index("--metadata", metadata, "--resume"))[0] == 0
    metadata.write_text("image,label\n0.dcm,covid\n1.dcm,non-covid\n")
    assert fates(index("--metadata", metadata, "--resume"))[0] == 1


def test_a_killed_run_goes_on_and_every_film_is_there_once(films, index, tmp_path, triton_server):
    for number in range(5, 12):  # the archive is written to every five seconds
        (films / f"{number}.copy.dcm").write_bytes((films / "0.dcm").read_bytes())
    command = [COMMAND, "index", films, "--uri", tmp_path / "cxr.db", "--jobs", 1, "--no-gate"]
    command += ["--server", triton_server.grpc_address]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "the same film as" in process.stderr.readline()
    process.kill()
    process.communicate()
    # Milvus Lite's own process ends with ours.
    eventually(lambda: not programs_with(tmp_path / "cxr.db"), "Milvus Lite goes on")
    told = index("--resume")
    assert told["archive"]["films"] == COUNT
    assert told["films"] == {"total": COUNT + 8, "ok": COUNT + 7, "rejected": 1, "failed": 0}


def test_an_archives_journal_lies_beside_it_and_a_servers_in_the_users_folder(tmp_path):
    assert journal_path(str(tmp_path / "cxr.db")) == tmp_path / "cxr.db.journal"
    one, other = (journal_path(f"http://{host}:19530") for host in ("a", "b"))
    assert one != other
    assert one == journal_path("http://a:19530/")


@pytest.fixture
def journal(tmp_path):
    def opened(model="m", gate=True, key=b"key"):
        return IndexJournal(tmp_path / "x.journal", Conditions(model, gate), key)

    return opened


@pytest.mark.parametrize(
    ("other", "holds"),
    [({}, True), ({"model": "n"}, False), ({"gate": False}, False)],
)
def test_what_was_seen_holds_for_one_model_and_gate(journal, films, other, holds):
    film = str(films / "0.dcm")
    identity = file_identity(film)
    error = FilmError("COLOUR", "Colour.", status="rejected")
    first = journal()
    first.rejected(film, identity, None, error)
    first.close()
    seen = journal(**other).seen(film, identity, None)
    assert (seen.holds, seen.rejection) == (holds, ("COLOUR", "Colour."))


def test_another_key_knows_no_file(journal, films):
    film = str(films / "0.dcm")
    first = journal()
    first.stored([(film, file_identity(film), None, "1.2.3")])
    first.close()
    assert journal(key=b"another").seen(film, file_identity(film), None) is None


def test_a_row_of_metadata_belongs_to_what_was_seen(journal, films):
    film = str(films / "0.dcm")
    identity, row = file_identity(film), FilmMetadata(1, "0.dcm", label="covid")
    book = journal()
    book.stored([(film, identity, row, "1.2.3")])
    assert book.seen(film, identity, row).holds
    assert not book.seen(film, identity, None).holds
