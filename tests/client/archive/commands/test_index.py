"""`cxrclient index` on a real Triton server and a real archive."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from archive_commands import ALL, PATIENT, neighbours
from cxrclient.archive.index import SimilarityIndex
from cxrclient.errors import ArchiveMismatch, FilmError
from cxrclient.runs.archiving import archive_films
from cxrclient.wire.client import CxrClient


def test_indexing_twice_changes_nothing_and_says_so(films, uri, cxrclient) -> None:
    ask = ("similar", films / "0.dcm", "--uri", uri, "--format", "jsonl", *ALL)
    first = cxrclient("index", films, "--uri", uri)
    before = neighbours(cxrclient(*ask))
    second = cxrclient("index", films, "--uri", uri)
    assert "5 added, 0 already there" in first.stdout
    assert "0 added, 5 already there" in second.stdout
    assert "5 films in all" in second.stdout
    assert neighbours(cxrclient(*ask)) == before


def test_indexing_again_without_metadata_keeps_the_ground_truth(
    films, uri, cxrclient, tmp_path
) -> None:
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("image,label\n1.dcm,truth\n")
    cxrclient("index", films, "--uri", uri, "--metadata", metadata)
    cxrclient("index", films, "--uri", uri)
    found = neighbours(
        cxrclient("similar", films / "0.dcm", "--uri", uri, "--format", "jsonl", *ALL)
    )
    assert [n["label"] for n in found].count("truth") == 1


def test_films_of_one_patient_share_a_key_and_no_patient_id_is_in_the_file(
    films, uri, cxrclient
) -> None:
    cxrclient("index", films, "--uri", uri)
    found = neighbours(
        cxrclient("similar", films / "4.dcm", "--uri", uri, "--format", "jsonl", *ALL)
    )
    keys = [n["patient_key"] for n in found]
    assert sorted(keys.count(key) for key in set(keys)) == [2, 2]
    stored = uri.read_bytes()
    assert keys[0].encode() in stored  # so the file is one in which a name could be found
    assert PATIENT.encode() not in stored


def test_one_bad_film_costs_no_other(films, uri, cxrclient, tmp_path) -> None:
    (tmp_path / "bad.dcm").write_bytes(b"")
    result = cxrclient("index", films, tmp_path / "bad.dcm", "--uri", uri)
    assert result.exit_code == 3
    assert "5 added" in result.stdout
    assert "bad.dcm: NOT_READABLE" in result.stderr


def test_the_same_film_twice_in_a_run_is_kept_once(films, uri, cxrclient, tmp_path) -> None:
    (tmp_path / "copy.dcm").write_bytes((films / "0.dcm").read_bytes())
    result = cxrclient("index", films / "0.dcm", tmp_path / "copy.dcm", "--uri", uri)
    assert result.exit_code == 0
    assert "1 added, 0 already there, 1 repeated" in result.stdout
    assert f"copy.dcm: the same film as {films / '0.dcm'}" in result.stderr


@pytest.mark.parametrize("batch", [64, 1])
def test_a_row_of_metadata_counts_whichever_copy_of_the_film_has_it(
    films, uri, cxrclient, tmp_path, monkeypatch, batch
) -> None:
    """Also where the first copy was written in an earlier batch, and where all is run again."""
    monkeypatch.setattr("cxrclient.runs.archiving.BATCH", batch)
    copy, metadata = tmp_path / "copy.dcm", tmp_path / "metadata.csv"
    copy.write_bytes((films / "0.dcm").read_bytes())
    metadata.write_text("image,label,ward\ncopy.dcm,truth,west\n")
    index = ("index", films / "0.dcm", copy, "--uri", uri, "--metadata", metadata)
    first = cxrclient(*index)
    assert first.exit_code == 0
    assert "1 added, 1 already there, 0 repeated" in first.stdout
    assert "kept once, with this path's row of the metadata" in first.stderr
    for _ in range(2):
        shown = cxrclient("similar", films / "1.dcm", "--uri", uri, "--format", "jsonl", *ALL)
        assert [(n["label"], n["metadata"]["ward"]) for n in neighbours(shown)] == [
            ("truth", "west")
        ]
        cxrclient(*index)


def test_two_rows_of_one_film_that_differ_are_said_and_the_first_is_kept(
    films, uri, cxrclient, tmp_path
) -> None:
    copy, metadata = tmp_path / "copy.dcm", tmp_path / "metadata.csv"
    copy.write_bytes((films / "0.dcm").read_bytes())
    index = ("index", films / "0.dcm", copy, "--uri", uri, "--metadata", metadata)
    metadata.write_text("image,label\n0.dcm,truth\ncopy.dcm,truth\n")
    assert "different rows" not in cxrclient(*index).stderr
    metadata.write_text("image,label\n0.dcm,truth\ncopy.dcm,other\n")
    assert "different rows of metadata, and the first path's is kept" in cxrclient(*index).stderr
    shown = cxrclient("similar", films / "1.dcm", "--uri", uri, "--format", "jsonl", *ALL)
    assert [n["label"] for n in neighbours(shown)] == ["truth"]


def test_a_patient_that_is_not_the_headers_is_said_with_its_code_and_the_film_is_taken(
    films, uri, cxrclient, tmp_path
) -> None:
    metadata, summary = tmp_path / "metadata.csv", tmp_path / "summary.json"
    index = (
        "index",
        *(films / f"{n}.dcm" for n in (0, 2, 4)),
        "--uri",
        uri,
        "--metadata",
        metadata,
    )
    metadata.write_text(f"image,patient_id\n0.dcm,P1\n2.dcm, {PATIENT}1^^^CLINIC\n4.dcm,P3\n")
    done = cxrclient(*index, "--summary", summary)
    assert done.exit_code == 0, done.output
    (warned,) = (line for line in done.stderr.splitlines() if line.startswith("PATIENT_DIFFERS: "))
    assert "2 films, the first " in warned
    assert "write the header's number" in warned
    assert PATIENT not in warned
    told = json.loads(summary.read_text())["archive"]
    assert (told["added"], told["other_patient"]) == (3, 2)
    metadata.write_text(f"image,patient_id\n0.dcm,{PATIENT}0\n")
    assert "PATIENT_DIFFERS" not in cxrclient(*index).stderr


def test_a_bad_row_of_the_metadata_is_told_before_anything_is_made(
    films, uri, cxrclient, tmp_path
) -> None:
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("image,age\n0.dcm,077Y\n")
    result = cxrclient("index", films, "--uri", uri, "--metadata", metadata)
    assert (result.exit_code, uri.exists()) == (2, False)
    assert f"{metadata}:2: age:" in result.stderr


def test_an_archive_that_cannot_be_used_is_told_before_a_film_is_sent(
    films, uri, cxrclient, tmp_path
) -> None:
    """The film is damaged, and would be reported if it were looked at."""
    uri.write_text("no database")
    (tmp_path / "bad.dcm").write_bytes(b"")
    for command in ("index", "similar"):
        result = cxrclient(command, tmp_path / "bad.dcm", "--uri", uri)
        assert result.exit_code == 1
        assert "ARCHIVE_UNAVAILABLE" in result.stderr
        assert "bad.dcm" not in result.stderr


def test_an_archive_of_another_model_is_refused(films, uri, cxrclient) -> None:
    SimilarityIndex(uri, model_digest="another model").close()
    result = cxrclient("index", films, "--uri", uri)
    assert (result.exit_code, "ARCHIVE_MISMATCH" in result.stderr) == (1, True)


def test_another_model_on_the_way_is_refused_before_it_is_stored(films, uri, triton_server) -> None:
    """The archive is of another model than the server's, as after a change of the server's."""
    with (
        CxrClient(triton_server.grpc_address) as cxr,
        SimilarityIndex(uri, model_digest="the model before") as index,
    ):
        with pytest.raises(ArchiveMismatch, match="now serves another model"):
            list(archive_films(cxr, index, [str(films / "0.dcm")], metadata={}, key=b"x" * 16))
        assert len(index) == 0


def test_an_interrupted_run_keeps_what_it_predicted(
    films, uri, cxrclient, wire, tmp_path, triton_server
) -> None:
    """The bad film's line tells that the one before it is predicted; its batch is not yet full."""
    (tmp_path / "bad.dcm").write_bytes(b"")
    program = Path(sys.executable).with_name("cxrclient")
    run = [films / "0.dcm", tmp_path / "bad.dcm", *[films / "1.dcm"] * 500]
    command = [program, "index", *run, "--uri", uri, "--server", wire.address, "--jobs", "1"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "NOT_READABLE" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    stderr = process.communicate(timeout=600)[1]
    assert process.returncode == 130, stderr
    assert " added, 0 already there" in stderr
    with (
        CxrClient(triton_server.grpc_address) as cxr,
        SimilarityIndex(uri, model_digest=cxr.model.digest) as index,
    ):
        film_id = cxr.predict(films / "0.dcm").film_id
        assert index.known([film_id]) == {film_id}


def test_a_closed_generator_keeps_what_it_predicted(films, uri, triton_server, tmp_path) -> None:
    (tmp_path / "bad.dcm").write_bytes(b"")
    run = [str(films / "0.dcm"), str(tmp_path / "bad.dcm"), str(films / "1.dcm")]
    with (
        CxrClient(triton_server.grpc_address) as cxr,
        SimilarityIndex(uri, model_digest=cxr.model.digest) as index,
    ):
        outcomes = archive_films(cxr, index, run, metadata={}, key=b"x" * 16)
        assert isinstance(next(outcomes), FilmError)
        assert len(index) == 0
        outcomes.close()
        assert len(index) == 1


def test_ranges_can_be_asked_of_a_column_of_numbers(
    films, uri, cxrclient, tmp_path, triton_server
) -> None:
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("image,icu_days\n1.dcm,3\n2.dcm,12.5\n3.dcm,\n4.dcm,0\n")
    cxrclient("index", films, "--uri", uri, "--metadata", metadata)
    with (
        CxrClient(triton_server.grpc_address) as cxr,
        SimilarityIndex(uri, model_digest=cxr.model.digest) as index,
    ):
        embedding = cxr.predict(films / "0.dcm").embedding
        found = index.search(embedding, one_per_patient=False, icu_days=(1, 12.5))
        assert {n.metadata["icu_days"] for n in found} == {3.0, 12.5}
        (found_by_value,) = index.search(embedding, icu_days=3)
        assert found_by_value.metadata["icu_days"] == 3.0


def test_films_can_be_found_by_the_site_that_they_are_from(
    films, uri, cxrclient, tmp_path, triton_server
) -> None:
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("image,site\n1.dcm,Essen\n")
    asked = ("--uri", uri, "--metadata", metadata, "--site", "Hannover")
    assert cxrclient("index", films, *asked).exit_code == 0
    with SimilarityIndex(uri, model_digest=None) as index:
        sites = [film.metadata["site"] for film in index.films()]
        assert sorted(sites) == ["Essen", *4 * ["Hannover"]]
        (film,) = index.search(next(index.films()).embedding, site="Essen")
        assert (film.metadata["site"], index.format) == ("Essen", 2)


def test_a_patients_number_in_another_column_ends_the_run_before_a_film_is_sent(
    films, uri, cxrclient, tmp_path
) -> None:
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("image,PatientID\n1.dcm,4711\n")
    result = cxrclient("index", films, "--uri", uri, "--metadata", metadata)
    assert (result.exit_code, uri.exists()) == (2, False)
    assert f"{metadata}:1: PatientID: " in result.stderr


@pytest.mark.parametrize("command", ["index", "similar"])
def test_no_server_is_exit_code_5_with_the_command_that_starts_one(
    films, uri, cxrclient, command
) -> None:
    result = cxrclient(command, films / "0.dcm", "--uri", uri, "--server", "localhost:9")
    assert (result.exit_code, uri.exists()) == (5, False)
    assert "cxrclient serve" in result.stderr


def test_a_glob_that_matches_nothing_is_wrong_usage(tmp_path, uri, cxrclient) -> None:
    result = cxrclient("index", f"{tmp_path}/*.dcm", "--uri", uri)
    assert (result.exit_code, "No film in" in result.stderr) == (2, True)


def test_the_commands_import_nothing_heavy() -> None:
    code = (
        "import sys, cxrclient.cli.index, cxrclient.cli.similar;"
        "print({'pymilvus', 'numpy', 'tritonclient', 'rich.table'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
