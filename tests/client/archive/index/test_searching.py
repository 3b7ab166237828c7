"""Searching an archive on real Milvus Lite."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus.rows import Neighbour
from cxrclient.archive.neighbours import consensus
from cxrclient.errors import ArchiveInput
from small_archives import MODEL, embeddings, filled

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Milvus Lite has no Windows build")


def test_distances_are_euclidean_and_ascending(uri: Path) -> None:
    vectors = filled(uri)
    query = embeddings(1, seed=1)[0]
    expected = np.linalg.norm(vectors - query, axis=1)
    order = np.argsort(expected)[:5]
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        found = index.search(query, k=5, one_per_patient=False)
    assert [n.id for n in found] == [f"1.2.{n}" for n in order]
    assert [n.distance for n in found] == pytest.approx(expected[order], rel=1e-5)


def test_a_neighbour_carries_all_that_was_put_in_with_the_film(uri: Path) -> None:
    vectors = filled(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        (found,) = index.search(vectors[3], k=1)
    assert found == Neighbour(
        id="1.2.3",
        distance=0.0,
        label="non-covid",
        label_source="metadata",
        probability=pytest.approx(0.15),
        patient_key="key1",
        metadata={"view": "PA", "age": 43},
    )


def test_what_was_never_given_comes_back_as_none(index: SimilarityIndex) -> None:
    index.add(["1"], embeddings(1), [{}])
    (found,) = index.search(embeddings(1)[0])
    given = (found.label, found.label_source, found.probability, found.patient_key, found.metadata)
    assert given == (None, None, None, None, {})


def test_films_at_the_same_distance_come_in_the_order_of_their_ids_also_at_the_cut(
    index: SimilarityIndex,
) -> None:
    order = np.random.default_rng(5).permutation(40)
    same = np.ones((40, 128), np.float32)
    index.add([f"{n:02}" for n in order], same, [{}] * 40)
    index.add(["nearest", "far"], np.stack([same[0] * 0.5, same[0] * 9]), [{}] * 2)
    found = [n.id for n in index.search(np.zeros(128, np.float32), k=4)]
    assert found == ["nearest", "00", "01", "02"]


def test_excluded_ids_are_left_out_and_k_is_still_reached(uri: Path) -> None:
    vectors = filled(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        found = [n.id for n in index.search(vectors[3], k=10, exclude=["1.2.3"])]
    assert (len(found), "1.2.3" in found) == (10, False)


def test_fewer_films_than_k_are_all_there_are(uri: Path) -> None:
    vectors = filled(uri, count=3)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert len(index.search(vectors[0], k=1000, one_per_patient=False)) == 3


def test_an_empty_archive_has_no_neighbours(empty_archive: SimilarityIndex) -> None:
    assert empty_archive.search(embeddings(1)[0]) == []


@pytest.mark.parametrize(
    ("filters", "matching"),
    [
        ({"label": "covid"}, {n for n in range(20) if n % 2 == 0}),
        ({"view": "PA"}, {n for n in range(20) if n % 2}),
        ({"age": 43}, {3}),
        ({"age": 43.0}, {3}),
        ({"age": (43, 45)}, {3, 4, 5}),
        ({"age": (None, 42)}, {0, 1, 2}),
        ({"probability": (0.8, None)}, {16, 17, 18, 19}),
        ({"age": [40, 59]}, {0, 19}),
        ({"age": ["43", 44]}, {4}),
        ({"patient_key": {"key1", "key2"}}, {2, 3, 4, 5}),
        ({"label": "covid", "age": (50, None)}, {10, 12, 14, 16, 18}),
        ({"days": 3}, set()),
        ({"label": []}, set()),
    ],
)
def test_filters_keep_just_the_films_that_match(
    shared_archive: SimilarityIndex, filters: dict[str, object], matching: set[int]
) -> None:
    found = shared_archive.search(embeddings(1)[0], k=50, one_per_patient=False, **filters)
    assert {n.id for n in found} == {f"1.2.{n}" for n in matching}


hostile = st.one_of(
    st.sampled_from(
        [
            '" or 1==1 or label == "',
            'x" or id != "',
            "a'b",
            "\\",
            '\\"',
            "{x}",
            "%",
            "metadata",
            "*",
            "' OR '1'='1",
            "]",
            '"] or id not in ["',
        ]
    ),
    st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    st.text('"\\ab=]', min_size=1, max_size=12),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=hostile, column=hostile)
def test_no_filter_value_or_column_name_ever_finds_another_film(
    hostile_archive: SimilarityIndex, value: str, column: str
) -> None:
    vectors = embeddings(2, seed=7)
    about = [{"label": value, column: value}, {"label": "other", column: "other"}]
    hostile_archive.add(["mine", "others"], vectors, about)
    for filters in ({"label": value}, {"label": [value]}, {column: value}):
        found = hostile_archive.search(vectors[0], k=9, **filters)
        assert [n.id for n in found] == ["mine"]
    assert hostile_archive.search(vectors[0], k=9, exclude=["mine", value])[0].id == "others"


@pytest.fixture(scope="module")
def hostile_archive(tmp_path_factory) -> Iterator[SimilarityIndex]:
    uri = tmp_path_factory.mktemp("hostile") / "cxr.db"
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        yield index


@pytest.mark.parametrize(
    "filters",
    [
        {"label": "a\nb"},
        {"label": "\ud800"},
        {"label": None},
        {"age": float("nan")},
        {"age": 2**63},
        {"age": ("40", "60")},
        {"age": (None, None)},
        {"age": {"from": 40}},
        {"a\x00b": "x"},
    ],
)
def test_a_filter_that_cannot_be_asked_is_refused(
    shared_archive: SimilarityIndex, filters: dict[str, object]
) -> None:
    with pytest.raises(ArchiveInput):
        shared_archive.search(embeddings(1)[0], **filters)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"vieww": "AP"}, "'vieww'. Did you mean 'view'?"),
        ({"View": "AP"}, "'View'. Did you mean 'view'?"),
        ({"lable": "covid"}, "'lable'. Did you mean 'label'?"),
        ({"day": 3}, "'day'. Did you mean 'days'?"),
        ({"ward": "x"}, "'ward'. There are: age, view."),
        ({"where": "ag > 3 or label == 'covid'"}, "'ag'. Did you mean 'age'?"),
        ({"where": "ward != 'x'"}, "'ward'. There are: age, view."),
    ],
)
def test_a_column_that_no_film_has_is_a_misspelt_one(
    shared_archive: SimilarityIndex, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArchiveInput, match=re.escape(f"has a column {said}")):
        shared_archive.search(embeddings(1)[0], **asked)


def test_a_column_of_any_kind_is_found_however_few_films_have_it(index: SimilarityIndex) -> None:
    values = [-1e9, "", "x", False, [1, 2], {"a": 1}]
    rows = [{f"column{n}": value} for n, value in enumerate(values)]
    index.add([str(n) for n in range(6)], embeddings(6), rows)
    for n in range(6):
        assert index.search(embeddings(1)[0], **{f"column{n}": "nobody"}) == []
    index.add(["7"], embeddings(1, seed=7), [{"later": 1}])
    assert [found.id for found in index.search(embeddings(1)[0], later=1)] == ["7"]


def test_an_archive_without_films_takes_any_column(empty_archive: SimilarityIndex) -> None:
    assert empty_archive.search(embeddings(1)[0], where="ward == 3", treatment="oxygen") == []


@pytest.mark.parametrize("k", [0, -1, 1001, "x", 1.5])
def test_k_has_bounds(shared_archive: SimilarityIndex, k: Any) -> None:
    with pytest.raises(ArchiveInput, match="1 to 1000"):
        shared_archive.search(embeddings(1)[0], k=k)


def test_the_mean_prediction_counts_the_neighbours_that_have_one() -> None:
    def neighbour(probability: float | None) -> Neighbour:
        return Neighbour(id="1", distance=0, label=None, probability=probability, patient_key=None)

    together = consensus([neighbour(0.2), neighbour(None), neighbour(0.6)])
    assert together is not None
    assert together.mean_probability == pytest.approx(0.4)
    assert consensus([neighbour(None)]) is None
