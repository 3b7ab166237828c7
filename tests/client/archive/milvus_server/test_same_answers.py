"""What Milvus Lite answers, a real Milvus server answers too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cxrclient.archive.index import SimilarityIndex
from cxrclient.errors import (
    CxrClientError,
)
from milvus_archives import FILMS, HOSTILE, MODEL, QUERY, about, vectors

SAME_PLACE = vectors()[100] + 0.01

CALLS: dict[str, Callable[[SimilarityIndex], Any]] = {
    "len": len,
    "known": lambda i: i.known(
        ["1.2.3", "1.2.99999", "", "a'b", *(f"1.2.{n}" for n in range(900))]
    ),
    "hashed": lambda i: i.has_hashed_ids(),
    "all films": lambda i: [(f.id, f.about(), f.embedding.tobytes()) for f in i.films()],
    "some films": lambda i: sorted(f.id for f in i.films(["1.2.7", "1.2.8", "nobody", "b'c"])),
    "default": lambda i: i.search(QUERY),
    "k 1000, one a patient": lambda i: i.search(QUERY, 1000),
    "k 1000": lambda i: i.search(QUERY, 1000, one_per_patient=False),
    "k beyond the archive": lambda i: i.search(QUERY, 1000, label="covid", one_per_patient=False),
    "ties": lambda i: i.search(SAME_PLACE, 37, one_per_patient=False),
    "ties, one a patient": lambda i: i.search(SAME_PLACE, 11),
    "exclude": lambda i: i.search(QUERY, 50, exclude=["1.2.5", "1.2.100", "nobody"]),
    "exclude patients": lambda i: i.search(QUERY, 50, exclude_patients={"p1", "p30", "p7"}),
    "exclude many": lambda i: i.search(QUERY, 50, exclude=[f"1.2.{n}" for n in range(1000)]),
    "of a list": lambda i: i.search(QUERY, 1000, view=["AP", "lateral"]),
    "of a mixed list": lambda i: i.search(QUERY, 1000, age=["33", 31, True]),
    "yes or no": lambda i: i.search(QUERY, 1000, ventilated=True),
    "range": lambda i: i.search(QUERY, 1000, age=(40, 60), days=(0, 3)),
    "open range": lambda i: i.search(QUERY, 1000, probability=(None, 0.2)),
    "a number": lambda i: i.search(QUERY, 1000, days=7),
    "no such column": lambda i: i.search(QUERY, 1000, nothing="x"),
    "no such column in a filter": lambda i: i.search(QUERY, where="nothing != 3 or age > 1"),
    "a column that no film has, but could have": lambda i: i.search(QUERY, 1000, source="x"),
    "nothing at all": lambda i: i.search(QUERY, label=[]),
    "where": lambda i: i.search(
        QUERY, 1000, where="treatment == 'oxygen' and (days < 3 or age >= 80) and view != 'PA'"
    ),
    "where, values first": lambda i: i.search(
        QUERY, 1000, where="'oxygen' == treatment and 20 > days >= 3 and 'PA' != view and 40 != age"
    ),
    "where in": lambda i: i.search(
        QUERY, where='id in ["1.2.3", "1.2.4"] and metadata["days"] > 1'
    ),
    "where like": lambda i: i.search(QUERY, 1000, where='label like "non%"', one_per_patient=False),
    "where that opens": lambda i: i.search(QUERY, where='label == "x") or (label != "x"'),
    "where without sense": lambda i: i.search(QUERY, where="age >"),
    "where of another kind": lambda i: i.search(QUERY, where="label > 3"),
    "id": lambda i: i.search_id("1.2.40", 20),
    "id, same patient": lambda i: i.search_id("1.2.40", 20, same_patient=True),
    "id, filtered": lambda i: i.search_id("1.2.40", 20, view="AP", one_per_patient=False),
    "no such id": lambda i: i.search_id("1.2.99999"),
    "k 0": lambda i: i.search(QUERY, 0),
    "NaN": lambda i: i.search(np.full(128, np.nan)),
    "bad film": lambda i: i.add(["1", "2", "1"], vectors()[:3], [{}] * 3),
    "again": lambda i: i.add(["1.2.0"], vectors()[:1], [about(0)]),
    **{
        f"hostile {n}": lambda i, value=value: (
            i.search(QUERY, 1000, label=value)
            + i.search(QUERY, 1000, label=[value, "nobody"])
            + i.search(QUERY, 1000, **{value: value})
        )
        for n, value in enumerate(HOSTILE)
    },
}


def answer(call: Callable[[SimilarityIndex], Any], index: SimilarityIndex) -> Any:
    try:
        return call(index)
    except CxrClientError as error:
        return type(error)


@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_has_the_same_answer_in_a_file_and_on_a_server(both, name: str) -> None:
    in_file, on_server = (answer(CALLS[name], index) for index in both)
    if isinstance(in_file, list) and in_file and hasattr(in_file[0], "distance"):
        near = [n.distance for n in in_file]
        assert [n.distance for n in on_server] == pytest.approx(near, rel=1e-5)
        assert [_but_distance(n) for n in on_server] == [_but_distance(n) for n in in_file]
    else:
        assert on_server == in_file


def _but_distance(neighbour: Any) -> dict[str, Any]:
    known = {name: getattr(neighbour, name) for name in neighbour.__dataclass_fields__}
    return known | {"distance": None}


@pytest.mark.parametrize("place", [0, 1], ids=["file", "server"])
@pytest.mark.parametrize("one_per_patient", [True, False])
def test_a_thousand_neighbours_are_those_of_an_independent_count(
    both, place: int, one_per_patient: bool
) -> None:
    distances = np.linalg.norm(vectors().astype(np.float64) - QUERY, axis=1)
    expected: list[str] = []
    patients: set[str] = set()
    for number in sorted(range(FILMS), key=lambda n: (round(distances[n], 9), f"1.2.{n}")):
        patient = about(number)["patient_key"]
        if one_per_patient and patient in patients:
            continue
        patients |= {patient} - {None}
        expected.append(f"1.2.{number}")
    found = both[place].search(QUERY, 1000, one_per_patient=one_per_patient)
    assert [n.id for n in found] == expected[:1000]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_finds_its_own_film_on_a_server(both, value: str) -> None:
    own = f"1.2.{HOSTILE.index(value)}"
    assert [n.id for n in both[1].search(QUERY, 9, label=value)] == [own]
    assert [n.id for n in both[1].search(QUERY, 9, **{value: value})] == [own]


def test_a_pointer_moves_in_a_file_and_on_a_server_alike(both) -> None:
    for index in both:
        store, there = index._store, index._collection
        assert store.current("somewhere") == "somewhere"
        store.create(f"somewhere_{MODEL[:12]}", MODEL)
        for name in (there, f"somewhere_{MODEL[:12]}"):
            store.switch("somewhere", name)
            assert store.current("somewhere") == name
        assert store.generations("somewhere") == [f"somewhere_{MODEL[:12]}"]
