"""`cxrclient archive list` and `show`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxrclient.archive.archive_key import bind_key
from cxrclient.archive.identity import hashed_uid, patient_key
from cxrclient.archive.index import SimilarityIndex
from cxrclient.cli.app import app
from small_archives import MODEL, embeddings, filled

SECRET = "a secret of this test"
KEY = SECRET.encode()


@pytest.fixture
def run(uri, monkeypatch) -> Callable[..., Result]:
    monkeypatch.setenv("CXR_PATIENT_KEY", SECRET)
    return lambda *words: CliRunner().invoke(app, ["archive", *words, "--uri", str(uri)])


def listed(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


def test_all_films_are_listed_or_those_that_match(uri, run) -> None:
    filled(uri)
    assert listed(run("list", "--format", "jsonl")) == sorted(f"1.2.{n}" for n in range(20))
    older = run("list", "--format", "jsonl", "--filter", 'age > 50 and view == "AP"', "-n", "3")
    assert listed(older) == ["1.2.12", "1.2.14", "1.2.16"]


def test_a_table_has_what_the_films_have_and_says_that_there_are_more(uri, run) -> None:
    filled(uri, 25)
    result = run("list")
    assert (result.exit_code, "more than these 20 films" in result.stderr) == (0, True)
    for part in ("1.2.0", "key0", "covid", "view", "age"):
        assert part in result.stdout
    assert "days" not in result.stdout


def test_a_patients_films_are_listed_by_the_plain_number(uri, run) -> None:
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        bind_key(index, KEY)
        keys = [patient_key(f"P{n // 2}", KEY) for n in range(4)]
        rows = [{"patient_key": key} for key in keys]
        index.add([f"1.{n}" for n in range(4)], embeddings(4), rows)
    assert listed(run("list", "--patient", "P1", "--format", "jsonl")) == ["1.2", "1.3"]


def test_no_film_is_said_with_what_there_is(uri, run) -> None:
    filled(uri)
    result = run("list", "--filter", 'view == "PA" and age == 40')
    assert (result.exit_code, "No film" in result.stderr, result.stdout) == (0, True, "")
    assert run("list", "--filter", "vieww == 3").exit_code == 2


@pytest.mark.parametrize(
    "where",
    [
        'age < 50 and not (view == "AP")',
        '!(view == "AP")',
        "exists view",
        "view not like 'A%'",
        "view == '\\'' or not (age > 50)",
        "age + 1 > 50",
        "dose * 2 == 4",
        "age > dose",
        "view == 'AP' or ward == view",
        "view > 'A' and dose == dose",
        "label > 3",
        "dose in [1, 'a']",
        "age not in []",
    ],
)
def test_what_only_a_server_answers_is_said_in_a_file_and_in_no_words_of_milvus(
    uri, run, capfd, where
) -> None:
    filled(uri)
    result = run("list", "--filter", where)
    assert (result.exit_code, "in a file it knows no `not (…)`" in result.stderr) == (2, True)
    assert 'treatment != "oxygen" and age <= 60' in result.stderr
    assert not [word for word in ("1.0", "00000", 'id > ""', "(age") if word in result.stderr]
    assert tuple(capfd.readouterr()) == ("", "")  # Milvus Lite's own words


@pytest.mark.parametrize(
    "where", ["view not in ['PA']", "view < 'not (x) exists ! '", "metadata['age'] <= 60"]
)
def test_what_is_advised_is_answered_in_a_file(uri, run, where) -> None:
    filled(uri)
    assert listed(run("list", "--format", "jsonl", "--filter", where))


@pytest.mark.parametrize("how", ["table", "jsonl"])
def test_a_value_that_no_film_has_is_misspelt_as_it_is_to_similar(uri, run, how) -> None:
    filled(uri)
    result = run("list", "--filter", 'view == "lateral"', "--format", how)
    assert (result.exit_code, "has the view lateral. The near" in result.stderr) == (2, True)


def test_a_film_is_shown_with_all_that_is_known_of_it(uri, run) -> None:
    vectors = filled(uri)
    words = run("show", "1.2.3").stdout
    for line in ("id: 1.2.3", "label: non-covid", "patient_key: key1", "age: 43"):
        assert line in words
    shown = json.loads(run("show", "1.2.3", "--json").stdout)
    assert (shown["id"], shown["embedding"]) == ("1.2.3", vectors[3].tolist())


def test_a_film_that_is_not_there_is_said(uri, run) -> None:
    filled(uri)
    result = run("show", "9.9")
    assert (result.exit_code, "There is no film 9.9" in result.stderr) == (3, True)


def test_a_hashed_film_is_shown_by_its_plain_uid(uri, run) -> None:
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        bind_key(index, KEY)
        index.add([hashed_uid("1.2.3", KEY)], embeddings(1), [{"label": "a"}])
    assert "label: a" in run("show", "1.2.3").stdout
