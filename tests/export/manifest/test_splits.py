"""Splits by patient: how they are drawn, and what is wrong with given ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from cxrclient.files import TableFault
from cxrexport.manifest import FilmRow, assign_splits, check_splits

collections = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from("abc"), st.sampled_from(["covid", "non-covid"])),
    min_size=1,
    max_size=200,
).map(
    lambda films: [
        FilmRow(image=Path(f"/{n}.png"), patient_id=str(patient), source=source, label=label)
        for n, (patient, source, label) in enumerate(films)
    ]
)


@settings(deadline=None)
@given(rows=collections, seed=st.integers(0, 5))
def test_no_patient_is_ever_in_two_splits(rows: list[FilmRow], seed: int) -> None:
    split = assign_splits(rows, seed=seed)
    assert len({(r.patient_id, r.split) for r in split}) == len({r.patient_id for r in rows})


@settings(deadline=None)
@given(rows=collections, order=st.randoms())
def test_splits_do_not_depend_on_the_order_of_the_rows(rows: list[FilmRow], order) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    by_image = {r.image: r.split for r in assign_splits(shuffled)}
    assert {r.image: r.split for r in assign_splits(rows)} == by_image


def patients(count: int, films: int, source: str, label: str) -> list[FilmRow]:
    return [
        FilmRow(
            image=Path(f"/{source}{label}{p}-{f}.png"),
            patient_id=f"{source}{label}{p}",
            source=source,
            label=label,
        )
        for p in range(count)
        for f in range(films)
    ]


def test_every_stratum_has_its_share_to_within_half_a_patient() -> None:
    rows = [
        *patients(40, 5, "north", "covid"),
        *patients(100, 1, "north", "non-covid"),
        *patients(60, 2, "south", "covid"),
    ]
    split = assign_splits(rows, fractions={"test": 0.15, "validation": 0.10})
    for stratum, films in (
        (("north", "covid"), 5),
        (("north", "non-covid"), 1),
        (("south", "covid"), 2),
    ):
        inside = [r for r in split if (r.source, r.label) == stratum]
        for name, fraction in (("test", 0.15), ("validation", 0.10)):
            share = sum(r.split == name for r in inside)
            assert abs(share - fraction * len(inside)) <= films / 2


def test_another_seed_makes_another_split() -> None:
    rows = patients(100, 1, "north", "covid")
    assert assign_splits(rows, seed=0) != assign_splits(rows, seed=1)


def test_a_split_that_was_there_is_made_anew() -> None:
    rows = patients(100, 1, "north", "covid")
    marked = [replace(row, split="test") for row in rows]
    assert assign_splits(marked) == assign_splits(rows)


@pytest.mark.parametrize(
    "fractions", [{"dev": 0.1}, {"test": -0.1}, {"test": 0.6, "validation": 0.4}]
)
def test_fractions_that_make_no_sense_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="fractions"):
        assign_splits(patients(3, 1, "north", "covid"), fractions=fractions)


# --- checking --------------------------------------------------------------------------------


def films(*splits_and_labels: tuple[str | None, str]) -> list[FilmRow]:
    return [
        FilmRow(image=Path(f"/{n}.png"), patient_id=str(n), label=label, split=split, row=n + 2)
        for n, (split, label) in enumerate(splits_and_labels)
    ]


def checked(rows: list[FilmRow], labels: tuple[str, ...] | None = None) -> list[TableFault]:
    return check_splits(rows, Path("m.csv"), labels)


BOTH = [("train", "normal"), ("train", "tb"), ("test", "normal"), ("test", "tb")]


def test_splits_with_both_classes_are_fine() -> None:
    assert checked(films(*BOTH), ("normal", "tb")) == []


@pytest.mark.parametrize("labels", [("normal", "tb"), None])
def test_a_split_that_lacks_a_class_is_named_with_what_it_has(labels) -> None:
    (problem,) = checked(films(*BOTH, ("validation", "tb"), ("validation", "tb")), labels)
    assert str(problem) == (
        "m.csv: label: the validation split has no normal film (it has 2 tb); "
        "add films or split again"
    )


def test_a_manifest_without_splits_needs_both_classes_as_a_whole() -> None:
    (problem,) = checked(films((None, "tb"), (None, "tb")), ("normal", "tb"))
    assert (problem.code, "the manifest has no normal film" in problem.what) == ("ONE_CLASS", True)


def test_a_manifest_of_one_class_is_fine_where_no_class_is_asked_for() -> None:
    assert checked(films(("train", "tb"), ("test", "tb"))) == []


def test_rows_without_a_split_among_rows_with_one_are_counted_once() -> None:
    (problem,) = checked(films(*BOTH, (None, "tb"), (None, "normal")), ("normal", "tb"))
    assert (problem.line, problem.column) == (6, "split")
    assert problem.what.startswith("2 of 6 rows have no split, this is the first")
