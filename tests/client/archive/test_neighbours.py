"""Which films are the nearest, one a patient or all, and what they say together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection

import pytest
from hypothesis import given, settings, strategies as st

from cxrclient.archive.milvus.rows import Neighbour
from cxrclient.archive.neighbours import Consensus, consensus, nearest


def film(
    number: int,
    distance: float = 0.0,
    patient: str | None = None,
    probability: float | None = None,
    label: str | None = None,
) -> Neighbour:
    return Neighbour(
        id=f"{number:04}",
        distance=distance,
        label=label,
        probability=probability,
        patient_key=patient,
    )


class Milvus:
    """Answers as Milvus does: the nearest, those at one distance in an order of its own."""

    def __init__(self, films: list[Neighbour], answer_max: int) -> None:
        self.films = films
        self.answer_max = answer_max
        self.asked = 0

    def ask(self, limit: int, ids: Collection[str], patients: Collection[str]) -> list[Neighbour]:
        self.asked += 1
        assert limit <= self.answer_max
        left = [f for f in self.films if f.id not in ids and f.patient_key not in patients]
        return sorted(left, key=lambda f: (f.distance, hash(f.id) % 97))[:limit]


def by_hand(films: list[Neighbour], k: int, *, one_per_patient: bool) -> list[str]:
    chosen: list[str] = []
    seen: set[str] = set()
    for each in sorted(films, key=lambda f: (f.distance, f.id)):
        if one_per_patient and each.patient_key in seen:
            continue
        if each.patient_key:
            seen.add(each.patient_key)
        chosen.append(each.id)
    return chosen[:k]


@settings(deadline=None)
@given(
    films=st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from([None, *(f"p{n}" for n in range(8))])),
        max_size=120,
    ),
    k=st.integers(1, 40),
    one_per_patient=st.booleans(),
)
def test_the_answer_is_that_of_looking_at_every_film(
    films: list[tuple[int, str | None]], k: int, one_per_patient: bool
) -> None:
    archive = [film(n, distance, patient) for n, (distance, patient) in enumerate(films)]
    milvus = Milvus(archive, answer_max=256)
    found = nearest(milvus.ask, k, milvus.answer_max, one_per_patient=one_per_patient)
    assert [f.id for f in found] == by_hand(archive, k, one_per_patient=one_per_patient)


def test_a_thousand_patients_are_found_behind_a_patient_of_ten_thousand_films() -> None:
    """More films of one patient lie before the others than Milvus can give in one answer."""
    archive = [film(n, n / 1e6, "p") for n in range(10_000)]
    archive += [film(10_000 + n, 1 + n, f"q{n // 3}") for n in range(3600)]
    milvus = Milvus(archive, answer_max=4096)
    found = nearest(milvus.ask, 1000, milvus.answer_max, one_per_patient=True)
    assert [f.id for f in found] == by_hand(archive, 1000, one_per_patient=True)
    assert len({f.patient_key for f in found}) == 1000


def test_films_of_nobody_known_stand_for_themselves() -> None:
    milvus = Milvus([film(n, n) for n in range(50)], answer_max=64)
    assert len(nearest(milvus.ask, 30, 64, one_per_patient=True)) == 30


def test_more_films_at_one_distance_than_an_answer_holds_end_the_search() -> None:
    milvus = Milvus([film(n, 1.0) for n in range(500)], answer_max=64)
    assert len(nearest(milvus.ask, 100, 64, one_per_patient=False)) == 64


def test_an_ordinary_search_asks_once() -> None:
    milvus = Milvus([film(n, n, f"p{n // 2}") for n in range(500)], answer_max=256)
    nearest(milvus.ask, 10, 256, one_per_patient=True)
    assert milvus.asked == 1


def test_the_consensus_is_mean_spread_share_and_labels() -> None:
    films = [
        film(1, probability=0.9, label="covid"),
        film(2, probability=0.6, label="covid"),
        film(3, probability=0.3, label="non-covid"),
        film(4, label="covid"),
        film(5),
    ]
    found = consensus(films, threshold=0.6)
    assert found == Consensus(
        films=3,
        mean_probability=pytest.approx(0.6),
        spread=pytest.approx(math.sqrt(0.06)),
        share_positive=pytest.approx(1 / 3),
        labels={"covid": 3, "non-covid": 1},
    )
    assert found.spread == pytest.approx(statistics.pstdev([0.9, 0.6, 0.3]))


def test_films_without_a_prediction_have_no_consensus() -> None:
    assert consensus([film(1), film(2)]) is None
    assert consensus([]) is None


@pytest.mark.parametrize("one_per_patient", [True, False])
def test_what_milvus_lets_in_against_its_filter_is_left_out_all_the_same(
    one_per_patient: bool,
) -> None:
    """The own film, its patient's, one film twice, a second one of a patient."""
    own = [film(n, n / 100, "own") for n in range(3)] + [film(3, 0.1, None)]
    others = [film(10 + n, 1 + n // 2, f"p{n // 2}") for n in range(20)]
    asked: list[int] = []

    def ask(limit: int, ids: Collection[str], patients: Collection[str]) -> list[Neighbour]:
        asked.append(limit)
        return [*own, *others, *others][:limit]

    found = nearest(
        ask, 12, 64, one_per_patient=one_per_patient, without_ids=["0003"], without_patients=["own"]
    )
    assert {n.patient_key for n in found} == {f"p{n}" for n in range(10 if one_per_patient else 6)}
    assert len({n.id for n in found}) == len(found) == (10 if one_per_patient else 12)
    assert len(asked) < 5


def test_a_milvus_that_gives_nothing_but_what_was_left_out_is_not_asked_for_ever() -> None:
    def ask(limit: int, ids: Collection[str], patients: Collection[str]) -> list[Neighbour]:
        return [film(n, n, "own") for n in range(limit)]

    assert nearest(ask, 4, 64, one_per_patient=True, without_patients=["own"]) == []
