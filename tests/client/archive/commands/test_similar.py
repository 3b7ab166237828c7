"""`cxrclient similar` on a real Triton server and a real archive."""

from __future__ import annotations

import json

import numpy as np
import pytest

from archive_commands import ALL, PATIENT, neighbours
from cxrclient.archive.empty_answer import require_values, why_empty
from cxrclient.archive.index import SimilarityIndex
from cxrclient.errors import ArchiveInput
from cxrclient.wire.client import CxrClient


def test_similar_gives_the_nearest_films_by_euclidean_distance_of_their_embeddings(
    films, indexed, cxrclient, triton_server
) -> None:
    found = neighbours(
        cxrclient("similar", films / "0.dcm", "-k", 3, "--uri", indexed, "--format", "jsonl", *ALL)
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


def test_similar_leaves_the_film_itself_out_and_says_so(films, indexed, cxrclient) -> None:
    ask = ("similar", films / "0.dcm", "-k", 9, "--uri", indexed, *ALL)
    result = cxrclient(*ask, "--format", "jsonl")
    record = json.loads(result.stdout)
    assert record["film_id"] not in {n["id"] for n in record["neighbours"]}
    assert record["left_out"] == [record["film_id"]]
    assert len(record["neighbours"]) == 4
    assert "has only 4 other films, not 9" in result.stderr
    table = cxrclient("similar", films / "0.dcm", "--uri", indexed)
    assert "was left out" in table.stderr


def test_similar_leaves_the_films_own_patient_out_and_gives_one_film_a_patient(
    films, indexed, cxrclient
) -> None:
    """Films 0 and 1, 2 and 3, and 4 are of a patient each."""
    ask = ("similar", films / "0.dcm", "-k", 9, "--uri", indexed, "--format", "jsonl")
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
    films, indexed, cxrclient, triton_server
) -> None:
    by_film = neighbours(
        cxrclient("similar", films / "0.dcm", "--uri", indexed, "--format", "jsonl")
    )
    with (
        CxrClient(triton_server.grpc_address) as cxr,
        SimilarityIndex(indexed, model_digest=cxr.model.digest) as index,
    ):
        found = index.search(cxr.predict(films / "0.dcm"))
    assert [n.id for n in found] == [n["id"] for n in by_film]


def test_similar_by_id_needs_no_server_and_answers_like_the_film(films, indexed, cxrclient) -> None:
    by_film = cxrclient("similar", films / "0.dcm", "--uri", indexed, "--format", "jsonl")
    film_id = json.loads(by_film.stdout)["film_id"]
    ask = ("similar", "--id", film_id, "--uri", indexed, "--server", "localhost:9")
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
        (("--view", "PA", "--filter", 'ward == "east"'), "No film of {} has all of this at once."),
        (("--filter", "probability > 2"), "No film of {} has all of this at once."),
        (("--view", "AP"), "All films that match are the film itself, or of its patient."),
    ],
)
def test_an_empty_answer_says_why(uri, cxrclient, options, said) -> None:
    with SimilarityIndex(uri, model_digest="a" * 64) as index:
        index.add(
            ["1.2", "1.3"],
            np.eye(2, 128, dtype=np.float32),
            [{"view": "AP", "ward": "east"}, {"view": "PA", "ward": "west"}],
        )
    result = cxrclient("similar", "--id", "1.2", "--uri", uri, *options)
    assert result.exit_code == 0
    assert said.format(uri) in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--view", "LATERAL"), "has the view LATERAL. The nearest is "),
        (("--view", "AP", "--view", "pa"), "has the view pa. The nearest is PA; there are: AP, PA"),
        (("--age", "90-"), "has a value of age from 90. The nearest is 60; there are 40 to 60."),
        (
            ("--age", "45-50"),
            "has a value of age from 45 to 50. The nearest is 40; there are 40 to 60.",
        ),
        (("--filter", 'ward == "eats"'), "has the ward eats. The nearest is east"),
        (("--filter", "metadata['ward'] in ['west', \"eats\"]"), "The nearest is east"),
        (("--filter", 'source == "x"'), "has the source x. The nearest is here; there are: here."),
        (("--filter", "age == 9"), "has a value of age == 9. The nearest is 40; there are 40 to"),
        (("--filter", "age > 60"), "has a value of age > 60. The nearest is 60; there are 40 to"),
        (("--filter", "ward != 'west' and metadata['age'] < -3"), "a value of age < -3. The near"),
        (("--filter", "ward != 'eats'"), "has the ward eats. The nearest is east"),
        (("--filter", "'eats' == ward or age > 1"), "has the ward eats. The nearest is east"),
        (("--filter", "ward like 'eats%' or age > 1"), "of ward like 'eats%'. The nearest is east"),
        (("--filter", "age < 0 or age > 50"), "a value of age < 0. The nearest is 40; there are"),
        (("--filter", "age in [40, -2]"), "a value of age == -2. The nearest is 40; there are 40"),
        (
            ("--filter", "age > 1 or 45 < age < 50"),
            "age for which 45 < age < 50. The nearest is 40",
        ),
        (
            ("--filter", "age > 1e400"),
            "has a value of age > 1e400. The nearest is 60; there are 40",
        ),
        (("--filter", "dose < -1e400"), "The nearest is 2; there are 2 to 3."),
        (("--filter", 'ward == ""'), "has an empty ward. The nearest is "),
        (("--filter", "ward > 5 or age > 1"), "has a number as ward."),
        (("--label", "covid"), "No film of {} has a column 'label'."),
        (("--days", "0-"), "No film of {} has a column 'days'."),
        (("--filter", "site != 'x' or age > 1"), "No film of {} has a column 'site'."),
        (("--filter", "dose <= 1.5"), "has a value of dose <= 1.5. The nearest is 2; there are"),
    ],
)
def test_a_value_that_no_film_has_is_wrong_usage_with_the_nearest_one(
    uri, cxrclient, options, said
) -> None:
    with SimilarityIndex(uri, model_digest="a" * 64) as index:
        index.add(
            ["1.2", "1.3"],
            np.eye(2, 128, dtype=np.float32),
            [
                {"view": "AP", "age": 40.0, "ward": "east", "source": "here", "dose": 2.0},
                {"view": "PA", "age": 60.0, "ward": "west", "source": "here", "dose": 3.0},
            ],
        )
    result = cxrclient("similar", "--id", "1.2", "--uri", uri, *options)
    assert result.exit_code == 2, result.output
    assert said.format(uri) in result.stderr


def test_of_an_archive_without_films_nothing_else_is_said(uri) -> None:
    with SimilarityIndex(uri, model_digest="a" * 64) as index:
        require_values(index, {"view": "AP"}, "ward == 'east'")
        assert why_empty(index, {"view": "AP"}, None) == f"{index.uri} has no films."


def test_a_patients_key_that_no_film_has_is_said_without_those_of_others(uri, cxrclient) -> None:
    keys = ["ab" * 32, "cd" * 32]
    with SimilarityIndex(uri, model_digest="a" * 64) as index:
        rows = [{"patient_key": key} for key in keys]
        index.add(["1.2", "1.3"], np.eye(2, 128, dtype=np.float32), rows)
    result = cxrclient("similar", "--id", "1.2", "--uri", uri, "--filter", "patient_key == 'x'")
    assert (result.exit_code, "has this patient_key." in result.stderr) == (2, True)
    assert not [key for key in keys if key in result.output]


def test_a_filter_that_films_can_match_is_answered(uri, cxrclient) -> None:
    with SimilarityIndex(uri, model_digest="a" * 64) as index:
        index.add(
            ["1.2", "1.3"],
            np.eye(2, 128, dtype=np.float32),
            [{"age": 40.0, "ward": "east"}, {"age": 60.0, "ward": "west"}],
        )
    answered = (
        "ward != 'west'",
        "age == 40",
        "age >= 60",
        "age > 50 or age < 50",
        "age != 9 and age not in [9]",
        "age > 1 or probability > 2",
        "age > 50 and ward == 'east'",
    )
    ask = ("similar", "--id", "1.2", "--uri", uri, "--filter")
    assert [cxrclient(*ask, where).exit_code for where in answered] == [0] * len(answered)


def test_the_table_has_the_columns_that_were_filtered_by_and_the_files(
    films, indexed, cxrclient
) -> None:
    ask = ("similar", films / "0.dcm", "--uri", indexed, "--sex", "F", "--filter", "age > 60")
    result = cxrclient(*ask, "--archive-films", films)
    assert result.exit_code == 0, result.output
    (heading,) = (line for line in result.stdout.splitlines() if "patient key" in line)
    assert [word for word in heading.split() if word in ("sex", "age", "view", "file")] == [
        "sex",
        "age",
        "file",
    ]
    assert "61" in result.stdout
    found = json.loads(cxrclient(*ask, "--archive-films", films, "--format", "jsonl").stdout)
    named = {n["file"] for n in found["neighbours"]}
    assert named <= {str(films / f"{number}.dcm") for number in range(2, 5)}
    assert len(named) == len(found["neighbours"])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("viw != 'AP'", "has a column 'viw'. Did you mean 'view'?"),
        ("view == 'AP' or metadata['no word'] > 1", "has a column 'no word'. There are: view."),
    ],
)
def test_a_column_of_no_film_is_wrong_usage_before_a_film_is_predicted(
    uri, films, cxrclient, written, said
) -> None:
    cxrclient("index", films / "0.dcm", "--uri", uri)
    with SimilarityIndex(uri, model_digest=None) as index:
        (film,) = index.films()
    for of in (("--id", film.id), ("no_film.dcm",)):
        result = cxrclient("similar", *of, "--uri", uri, "--filter", written)
        assert result.exit_code == 2, result.stderr
        assert said.partition(".")[0] in result.stderr


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
        with pytest.raises(ArchiveInput, match=r"None of the first 2 films of .* has the view PX"):
            require_values(index, {"view": ["LATERAL", "PX"]}, None)
        assert len([fields for _, _, fields in asked if "embedding" in fields]) <= 3


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


def test_similar_says_how_much_the_neighbours_disagree(films, indexed, cxrclient) -> None:
    ask = ("similar", films / "0.dcm", "--uri", indexed, *ALL)
    record = json.loads(cxrclient(*ask, "--format", "jsonl").stdout)
    known = [n["probability"] for n in record["neighbours"]]
    assert record["consensus"]["spread"] == pytest.approx(np.std(known))
    assert record["consensus"]["films"] == len(known) == 4
    assert sum(record["consensus"]["labels"].values()) == 4
    assert "standard deviation" in cxrclient(*ask).stdout


def test_similar_gives_the_mean_of_the_neighbours_predictions(films, indexed, cxrclient) -> None:
    result = cxrclient(
        "similar", films / "0.dcm", "-k", 3, "--uri", indexed, "--format", "jsonl", *ALL
    )
    record = json.loads(result.stdout)
    probabilities = [n["probability"] for n in record["neighbours"]]
    assert record["mean_probability"] == pytest.approx(sum(probabilities) / 3)


def test_the_table_shows_distances_labels_the_mean_and_the_servers_notice(
    films, indexed, cxrclient, triton_server
) -> None:
    result = cxrclient("similar", films / "0.dcm", "-k", 2, "--uri", indexed)
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


def test_similar_without_an_archive_says_how_to_make_one(films, uri, cxrclient) -> None:
    result = cxrclient("similar", films / "0.dcm", "--uri", uri)
    assert (result.exit_code, uri.exists()) == (1, False)
    assert "cxrclient index FILES" in result.stderr


def test_a_film_that_cannot_be_judged_gets_a_json_line_too(uri, cxrclient, films, tmp_path) -> None:
    cxrclient("index", films / "0.dcm", "--uri", uri)
    (tmp_path / "bad.png").write_bytes(b"")
    result = cxrclient("similar", tmp_path / "bad.png", "--uri", uri, "--format", "jsonl")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["code"] == "NOT_READABLE"
