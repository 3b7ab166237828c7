"""An archive of format 2 answers as one of format 1 did, also where something is unknown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from archive_formats import FILMS, NONE, RAW, STRUCTURED, about
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus.layout import FORMAT_2, NO_NUMBER
from cxrclient.errors import ArchiveInput, ArchiveMismatch
from small_archives import MODEL, embeddings, make_format_1

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Milvus Lite has no Windows build")


@pytest.fixture(scope="module")
def formats(tmp_path_factory) -> Iterator[tuple[SimilarityIndex, SimilarityIndex]]:
    """The same films in an archive of either format."""
    folder = tmp_path_factory.mktemp("formats")
    make_format_1(folder / "1.db")
    with (
        SimilarityIndex(folder / "1.db", model_digest=MODEL) as first,
        SimilarityIndex(folder / "2.db", model_digest=MODEL) as second,
    ):
        for index in (first, second):
            ids = [f"1.2.{n}" for n in range(FILMS)]
            index.add(ids, embeddings(FILMS), [about(n) for n in range(FILMS)])
        yield first, second


@pytest.mark.parametrize("asked", [*STRUCTURED, *({"where": where} for where in RAW)], ids=str)
def test_a_filter_finds_the_same_films_in_either_format(formats, asked: dict[str, Any]) -> None:
    query = embeddings(1, seed=1)[0]
    before, after = (_answer(index, query, asked) for index in formats)
    if before is ArchiveInput:  # Milvus Lite could not ask it of JSON
        assert asked == {"where": "age + 1 == 4"}
        assert {n.metadata["age"] for n in after} == {3.0}
    else:
        assert after == before
        assert before or asked in NONE


def _answer(index: SimilarityIndex, query: np.ndarray, asked: dict[str, Any]) -> Any:
    try:
        return index.search(query, 100, one_per_patient=False, **asked)
    except ArchiveInput:
        return ArchiveInput


@pytest.mark.parametrize(
    ("where", "unknown"),
    [("age in [3, 4]", False), ("age not in [3, 4]", True), ("3 <= age <= 4", False)],
)
def test_a_list_of_whole_numbers_can_be_asked_of_a_field(formats, where, unknown) -> None:
    found = {n.id for n in formats[1].search(np.ones(128), 100, where=where)}
    ages = {f"1.2.{n}": about(n).get("age") for n in range(FILMS)}
    assert found == {i for i, age in ages.items() if (age in (3, 4)) != unknown}


def test_what_was_put_in_comes_out_and_nothing_else(formats) -> None:
    """Never what stands for an unknown value."""
    for index in formats:
        for film in index.films():
            known = {name: value for name, value in film.about().items() if value is not None}
            expected = about(int(film.id.removeprefix("1.2.")))
            if "probability" in expected:
                expected["probability"] = pytest.approx(expected["probability"])
            assert known == expected


def test_what_no_field_can_take_is_kept_and_found_all_the_same(tmp_path) -> None:
    odd = [
        {"age": 2**60 + 1, "sex": "x" * 2000, "view": "", "site": ["a", "b"]},
        {"age": -1e15, "days": 1e300, "source": "É" * 512},
        {"age": NO_NUMBER - 1, "days": False, "source": "É" * 513, "severity": "mild"},
    ]
    with SimilarityIndex(tmp_path / "cxr.db", model_digest=MODEL) as index:
        index.add(["0", "1", "2"], embeddings(3), odd)
        assert [dict(film.metadata) for film in index.films()] == odd
        assert [n.id for n in index.search(np.ones(128), age=2**60 + 1)] == ["0"]
        assert [n.id for n in index.search(np.ones(128), age=[-1e15])] == ["1"]
        assert [n.id for n in index.search(np.ones(128), view="")] == ["0"]
        assert [n.id for n in index.search(np.ones(128), severity="mild", days=False)] == ["2"]


def test_a_format_of_later_is_refused_and_said(tmp_path) -> None:
    make_format_1(tmp_path / "cxr.db", replace(FORMAT_2, format=3))
    with pytest.raises(ArchiveMismatch, match=r"format 3, which .* Update it"):
        SimilarityIndex(tmp_path / "cxr.db", model_digest=MODEL)
