"""`cxrclient index` and `cxrclient similar`, on a real Triton server and real Milvus Lite."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxrclient.archive.empty_answer import why_empty
from cxrclient.archive.index import SimilarityIndex
from cxrclient.cli.app import app
from cxrclient.errors import ArchiveMismatch, FilmError
from cxrclient.runs.archiving import archive_films
from cxrclient.wire.client import CxrClient

SECRET = "a secret of this test"
PATIENT = "PATIENT-4711"


@pytest.fixture(scope="module")
def films(tmp_path_factory, drawn_film, write_dicom) -> Path:
    """A folder of five films of three patients, and one file that is damaged."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(5):
        write_dicom(
            folder / f"{number}.dcm",
            drawn_film(seed=number),
            PatientID=f"{PATIENT}{number // 2}",
            PatientSex="F",
            PatientAge="061Y",
        )
    return folder


@pytest.fixture
def cxrclient(triton_server, monkeypatch) -> Callable[..., Result]:
    monkeypatch.setenv("CXR_SERVER", triton_server.grpc_address)
    monkeypatch.setenv("CXR_PATIENT_KEY", SECRET)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def uri(tmp_path: Path) -> Path:
    return tmp_path / "cxr.db"


ALL = ("--same-patient", "--all-films")  # every film but the query


def neighbours(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["neighbours"]


def test_indexing_twice_changes_nothing_and_says_so(films, uri, cxrclient) -> None:
    ask = ("similar", films / "0.dcm", "--uri", uri, "--format", "jsonl", *ALL)
    first = cxrclient("index", films, "--uri", uri)
    before = neighbours(cxrclient(*ask))
    second = cxrclient("index", films, "--uri", uri)
    assert "5 added, 0 already there" in first.stdout
    assert "0 added, 5 already there" in second.stdout
    assert "5 films in all" in second.stdout
    assert neighbours(cxrclient(*ask)) == before


def test_similar_gives_the_nearest_films_by_euclidean_distance_of_their_embeddings(
    films, uri, cxrclient, triton_server
) -> None:
    cxrclient("index", films, "--uri", uri)
    found = neighbours(
        cxrclient("similar", films / "0.dcm", "-k", 3, "--uri", uri, "--format", "jsonl", *ALL)
    )
    with CxrClient(triton_server.grpc_address) as cxr:
        predictions = [cxr.predict(films / f"{n}.dcm") for n in range(5)]
    query = predictions[0]
    expected = sorted(
        (float(np.linalg.norm(p.embedding - query.embedding)), p.film_id, p.probability)
        for p in predictions[1:]
    )[:3]
    assert [n["id"] for n in found] == [film_id for _, film_id, _ in expected]
    distances = [distance for distance, _, _ in expected]
    assert [n["distance"] for n in found] == pytest.approx(distances, rel=1e-4, abs=1e-4)
    assert [n["probability"] for n in found] == pytest.approx([p for *_, p in expected], abs=1e-6)


def test_similar_leaves_the_film_itself_out_and_says_so(films, uri, cxrclient) -> None:
    cxrclient("index", films, "--uri", uri)
    ask = ("similar", films / "0.dcm", "-k", 9, "--uri", uri, *ALL)
    result = cxrclient(*ask, "--format", "jsonl")
    record = json.loads(result.stdout)
    assert record["film_id"] not in {n["id"] for n in record["neighbours"]}
    assert record["left_out"] == [record["film_id"]]
    assert len(record["neighbours"]) == 4
    assert "has only 4 other films, not 9" in result.stderr
    table = cxrclient("similar", films / "0.dcm", "--uri", uri)
    assert "was left out" in table.stderr


def test_similar_leaves_the_films_own_patient_out_and_gives_one_film_a_patient(
    films, uri, cxrclient
) -> None:
    """Films 0 and 1, 2 and 3, and 4 are of a patient each."""
    cxrclient("index", films, "--uri", uri)
    ask = ("similar", films / "0.dcm", "-k", 9, "--uri", uri, "--format", "jsonl")
    everybody = neighbours(cxrclient(*ask, *ALL))
    own = {n["id"] for n in everybody} - {n["id"] for n in neighbours(cxrclient(*ask, ALL[1]))}
    found = neighbours(cxrclient(*ask))
    assert len(own) == 1
    assert len({n["patient_key"] for n in found}) == len(found) == 2
    nearest = {n["patient_key"]: n["id"] for n in reversed(everybody) if n["id"] not in own}
    assert {n["id"] for n in found} == set(nearest.values())


def test_a_film_that_is_not_in_the_archive_is_told_from_its_patients_films_by_its_header(
    films, uri, cxrclient, tmp_path, drawn_film, write_dicom, monkeypatch
) -> None:
    cxrclient("index", films / "0.dcm", films / "2.dcm", "--uri", uri)
    new = write_dicom(tmp_path / "new.dcm", drawn_film(seed=9), PatientID=f"{PATIENT}0")
    ask = ("similar", new, "--uri", uri, "--format", "jsonl")
    assert len(neighbours(cxrclient(*ask))) == 1
    assert len(neighbours(cxrclient(*ask, "--same-patient"))) == 2
    monkeypatch.delenv("CXR_PATIENT_KEY")
    monkeypatch.setenv("CXR_PATIENT_KEY_FILE", str(tmp_path / "nowhere"))
    without = cxrclient(*ask)
    assert len(neighbours(without)) == 2
    assert "Other films of this patient are not recognised" in without.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_prediction_can_be_searched_for_and_leaves_its_film_and_patient_out(
    films, uri, cxrclient, triton_server
) -> None:
    cxrclient("index", films, "--uri", uri)
    by_film = neighbours(cxrclient("similar", films / "0.dcm", "--uri", uri, "--format", "jsonl"))
    with (
        CxrClient(triton_server.grpc_address) as cxr,
        SimilarityIndex(uri, model_digest=cxr.model.digest) as index,
    ):
        found = index.search(cxr.predict(films / "0.dcm"))
    assert [n.id for n in found] == [n["id"] for n in by_film]


def test_similar_by_id_needs_no_server_and_answers_like_the_film(films, uri, cxrclient) -> None:
    cxrclient("index", films, "--uri", uri)
    by_film = cxrclient("similar", films / "0.dcm", "--uri", uri, "--format", "jsonl")
    film_id = json.loads(by_film.stdout)["film_id"]
    ask = ("similar", "--id", film_id, "--uri", uri, "--server", "localhost:9")
    by_id = cxrclient(*ask, "--format", "jsonl")
    found, expected = neighbours(by_id), neighbours(by_film)
    assert [n["id"] for n in found] == [n["id"] for n in expected]
    distances = [n["distance"] for n in expected]
    assert [n["distance"] for n in found] == pytest.approx(distances, rel=1e-4, abs=1e-4)
    assert "Research use only" in cxrclient(*ask).stdout


@pytest.mark.parametrize("arguments", [[], ["--id", "1.2", "film.dcm"]])
def test_similar_wants_a_film_or_an_id(uri, cxrclient, arguments) -> None:
    result = cxrclient("similar", *arguments, "--uri", uri)
    assert (result.exit_code, "Give one film, or the --id" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--filter", "1 == 1"), 2),
        (("--filter", ""), 2),
        (("--filter", "label == 'a\nb'"), 2),
        (("--filter", "true"), 2),
        (("--id", ""), 2),
        (("--uri", "http://"), 2),
        (("--uri", "http://localhost:1"), 5),
    ],
)
def test_a_bad_filter_is_wrong_usage_and_no_milvus_server_is_5(
    uri, cxrclient, options, code
) -> None:
    with SimilarityIndex(uri, model_digest="a" * 64) as index:
        index.add(["1.2"], np.ones((1, 128), np.float32), [{}])
    result = cxrclient("similar", "--id", "1.2", "--uri", uri, *options)
    assert (result.exit_code, "/workspace/" in result.stderr) == (code, False), result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--filter", "nocolumn == 3 and metadata['no word'] > 1"), ("'nocolumn'", "'no word'")),
        (("--source", "here"), ("has a column 'source'",)),
        (("--view", "LATERAL"), ("has the view LATERAL; there are: AP, PA.",)),
    ],
)
def test_an_empty_answer_says_what_no_film_has(uri, cxrclient, options, said) -> None:
    with SimilarityIndex(uri, model_digest="a" * 64) as index:
        index.add(
            ["1.2", "1.3"], np.eye(2, 128, dtype=np.float32), [{"view": "AP"}, {"view": "PA"}]
        )
    result = cxrclient("similar", "--id", "1.2", "--uri", uri, *options)
    assert result.exit_code == 0
    assert all(part in result.stderr for part in said), result.stderr


def test_of_a_large_archive_the_first_films_are_looked_at_and_the_sentence_says_so(
    uri, monkeypatch
) -> None:
    monkeypatch.setattr("cxrclient.archive.empty_answer._LOOKED_AT", 2)
    with SimilarityIndex(uri, model_digest="a" * 64) as index:
        views = [{"view": view} for view in ("AP", "PA", "LATERAL", "LATERAL")]
        index.add([f"1.{n}" for n in range(4)], np.eye(4, 128, dtype=np.float32), views)
        asked = []
        monkeypatch.setattr(index, "_batch", 1)  # films a question
        query = index._store._query
        monkeypatch.setattr(
            index._store, "_query", lambda *a, **o: asked.append(a) or query(*a, **o)
        )
        (sentence,) = why_empty(index, {"view": ["LATERAL"]}, None)
        assert sentence == (
            f"None of the first 2 films of {uri} has the view LATERAL; there are: AP, PA."
        )
        assert len([fields for _, _, fields in asked if "embedding" in fields]) <= 3
        monkeypatch.setattr("cxrclient.archive.empty_answer._LOOKED_AT", 4)
        assert list(why_empty(index, {"view": ["LATERAL"]}, None)) == []


def test_an_id_that_is_not_there_is_told(films, uri, cxrclient) -> None:
    cxrclient("index", films / "0.dcm", "--uri", uri)
    result = cxrclient("similar", "--id", "1.2.3.4", "--uri", uri)
    assert (result.exit_code, "no film '1.2.3.4' in" in result.stderr) == (2, True)


def test_options_narrow_the_answer(films, uri, cxrclient, tmp_path) -> None:
    metadata = tmp_path / "metadata.csv"
    metadata.write_text(
        "image,label,view,sex,age,days,source,treatment\n"
        "1.dcm,covid,AP,F,41,0,here,oxygen\n2.dcm,covid,PA,M,55,2,there,none\n"
        "3.dcm,other,AP,M,60,3,here,oxygen\n4.dcm,covid,AP,F,61,9,there,none\n"
    )
    cxrclient("index", films, "--uri", uri, "--metadata", metadata)

    def treated(*options: str) -> list[float]:
        ask = ("similar", films / "0.dcm", "-k", 9, "--uri", uri, "--format", "jsonl", *ALL)
        return sorted(n["metadata"]["age"] for n in neighbours(cxrclient(*ask, *options)))

    assert treated("--age", "40-60", "--view", "AP") == [41, 60]
    assert treated("--days", "0-3") == [41, 55, 60]
    assert treated("--days", "3-", "--sex", "f") == [61]
    assert treated("--source", "here", "--label", "covid") == [41]
    assert treated("--label", "covid", "--label", "other") == [41, 55, 60, 61]
    assert treated("--filter", 'treatment == "oxygen" or days > 8') == [41, 60, 61]
    assert treated("--filter", "age > 50", "--view", "PA") == [55]
    result = cxrclient("similar", films / "0.dcm", "--uri", uri, "--filter", "age >> 3")
    assert (result.exit_code, "ARCHIVE_INPUT" in result.stderr) == (2, True)
    result = cxrclient("similar", films / "0.dcm", "--uri", uri, "--age", "old")
    assert (result.exit_code, "--age 'old'" in result.stderr) == (2, True)


def test_a_neighbour_carries_study_days_and_columns(films, uri, cxrclient, tmp_path) -> None:
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("image,days,outcome,study_uid\n2.dcm,4,discharged,1.2.840.1\n")
    cxrclient("index", films, "--uri", uri, "--metadata", metadata)
    ask = ("similar", films / "0.dcm", "--uri", uri, "--filter", "days == 4")
    (found,) = neighbours(cxrclient(*ask, "--format", "jsonl"))
    assert (found["study_uid"], found["days"]) == ("1.2.840.1", 4.0)
    assert found["metadata"]["outcome"] == "discharged"
    assert " 4 " in cxrclient(*ask).stdout


def test_similar_says_how_much_the_neighbours_disagree(films, uri, cxrclient) -> None:
    cxrclient("index", films, "--uri", uri)
    ask = ("similar", films / "0.dcm", "--uri", uri, *ALL)
    record = json.loads(cxrclient(*ask, "--format", "jsonl").stdout)
    known = [n["probability"] for n in record["neighbours"]]
    assert record["consensus"]["spread"] == pytest.approx(np.std(known))
    assert record["consensus"]["films"] == len(known) == 4
    assert sum(record["consensus"]["labels"].values()) == 4
    assert "standard deviation" in cxrclient(*ask).stdout


def test_similar_gives_the_mean_of_the_neighbours_predictions(films, uri, cxrclient) -> None:
    cxrclient("index", films, "--uri", uri)
    result = cxrclient("similar", films / "0.dcm", "-k", 3, "--uri", uri, "--format", "jsonl", *ALL)
    record = json.loads(result.stdout)
    probabilities = [n["probability"] for n in record["neighbours"]]
    assert record["mean_probability"] == pytest.approx(sum(probabilities) / 3)


def test_the_table_shows_distances_labels_the_mean_and_the_servers_notice(
    films, uri, cxrclient, triton_server
) -> None:
    cxrclient("index", films, "--uri", uri)
    result = cxrclient("similar", films / "0.dcm", "-k", 2, "--uri", uri)
    with CxrClient(triton_server.grpc_address) as cxr:
        notice = cxr.model.notice
    shown = " ".join(result.stdout.split())
    for part in ("distance", "label", "patient key", "Mean p(", " ".join(notice.split())[:60]):
        assert part in shown


def test_ground_truth_is_kept_where_there_is_one_and_the_source_of_each_label_is_told(
    films, uri, cxrclient, tmp_path
) -> None:
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("image,patient_id,label,treatment\n1.dcm,other,truth,oxygen\n")
    result = cxrclient("index", films, "--uri", uri, "--metadata", metadata)
    assert "4 of 5 films have no row" in result.stderr
    found = neighbours(
        cxrclient("similar", films / "0.dcm", "--uri", uri, "--format", "jsonl", *ALL)
    )
    labels = {n["label_source"]: n["label"] for n in found}
    assert labels["metadata"] == "truth"
    assert labels["predicted"] != "truth"
    (known,) = [n for n in found if n["label_source"] == "metadata"]
    assert known["metadata"]["treatment"] == "oxygen"
    assert known["metadata"]["sex"] == "F"


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


def test_similar_without_an_archive_says_how_to_make_one(films, uri, cxrclient) -> None:
    result = cxrclient("similar", films / "0.dcm", "--uri", uri)
    assert (result.exit_code, uri.exists()) == (1, False)
    assert "cxrclient index FILES" in result.stderr


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


def test_a_film_that_cannot_be_judged_gets_a_json_line_too(uri, cxrclient, films, tmp_path) -> None:
    cxrclient("index", films / "0.dcm", "--uri", uri)
    (tmp_path / "bad.png").write_bytes(b"")
    result = cxrclient("similar", tmp_path / "bad.png", "--uri", uri, "--format", "jsonl")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["code"] == "NOT_READABLE"


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
