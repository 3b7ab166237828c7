"""Splits and folds of a study: by patient, alike, and the same for every order of the manifest."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow
from cxrexport.study.splits import (
    cross_validation,
    leave_source_out,
    make_folds,
    problems_of_sources,
    random_splits,
    read_folds,
    write_folds,
)


@pytest.fixture
def rows():
    """200 films of 100 patients from two hospitals, a third of them positive."""
    return tuple(
        FilmRow(
            image=Path(f"/films/{n}.png"),
            patient_id=f"p{n // 2}",
            label="covid" if (n // 2) % 3 == 0 else "other",
            source="north" if n < 120 else "south",
            row=n + 2,
        )
        for n in range(200)
    )


def patients_by_side(split):
    sides = {}
    for row in split.rows:
        sides.setdefault(row.split, set()).add(row.patient_id)
    return sides


def test_no_patient_is_on_two_sides_of_a_split(rows):
    for split in random_splits(rows, 3, seed=1):
        train, validation, test = (
            patients_by_side(split)[side] for side in ("train", "validation", "test")
        )
        assert not train & validation
        assert not train & test
        assert not validation & test


def test_random_splits_hold_out_fifteen_per_cent_and_differ(rows):
    first, second = random_splits(rows, 2, seed=1)
    for split in (first, second):
        assert len(split.positions("test")) == pytest.approx(30, abs=2)
    assert set(first.positions("test")) != set(second.positions("test"))


def test_every_film_is_tested_in_exactly_one_fold(rows):
    splits = cross_validation(rows, make_folds(rows, 5, seed=1), seed=1)
    tested = Counter(position for split in splits for position in split.positions("test"))
    assert len(splits) == 5
    assert tested == Counter(range(len(rows)))


def test_folds_are_alike_in_source_and_label(rows):
    folds = make_folds(rows, 5, seed=1)
    for stratum in {(row.source, row.label) for row in rows}:
        films = [folds[row.patient_id] for row in rows if (row.source, row.label) == stratum]
        counts = Counter(films).values()
        assert max(counts) - min(counts) <= 4


def test_the_order_of_the_manifest_does_not_change_the_folds(rows):
    assert make_folds(rows, 5, seed=1) == make_folds(rows[::-1], 5, seed=1)


def test_another_seed_gives_other_folds(rows):
    assert make_folds(rows, 5, seed=1) != make_folds(rows, 5, seed=2)


def test_a_position_is_the_same_film_in_every_trial(rows):
    splits = [*random_splits(rows, 2, 1), *cross_validation(rows, make_folds(rows, 2, 1), 1)]
    for split in splits:
        assert [row.image for row in split.rows] == [row.image for row in rows]


def test_folds_come_back_from_their_file(rows, tmp_path):
    folds = make_folds(rows, 5, seed=1)
    write_folds(folds, tmp_path / "folds.csv")
    assert read_folds(tmp_path / "folds.csv") == folds


def test_a_patient_without_a_fold_is_named_by_line(rows):
    folds = make_folds(rows, 5, seed=1)
    del folds["p3"]
    with pytest.raises(ManifestError, match="1 patients have no fold, the first is in line 8"):
        cross_validation(rows, folds, seed=1)


def test_more_folds_than_patients_are_refused(rows):
    with pytest.raises(ManifestError, match="100 patients cannot make 101 folds"):
        make_folds(rows, 101, seed=1)


def test_every_mistake_in_a_folds_file_is_listed_with_its_line(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("patient_id,fold\na,1\nb,0\na,2\nc,x\n")
    with pytest.raises(ManifestError) as error:
        read_folds(path)
    assert [line.split(":")[1] for line in error.value.message.splitlines()] == ["3", "4", "5"]


# --- leaving a source out ----------------------------------------------------------------------


def test_each_source_is_tested_by_the_others_alone(rows):
    splits = leave_source_out(rows, seed=1)
    assert [split.name for split in splits] == ["without-north", "without-south"]
    for split, source in zip(splits, ("north", "south"), strict=True):
        assert {row.source for row in split.rows if row.split == "test"} == {source}
        assert all(row.split == "test" for row in split.rows if row.source == source)
        others = len(rows) - len(split.positions("test"))
        assert len(split.positions("validation")) == pytest.approx(others / 10, abs=4)
        assert [row.image for row in split.rows] == [row.image for row in rows]
        sides = patients_by_side(split)
        assert not sides["train"] & sides["validation"]


def test_sources_that_look_alike_as_folders_are_told_apart(rows):
    names = {"north": "Nord/Süd", "south": "nord s d"}
    alike = [replace(row, source=names[row.source]) for row in rows]
    folders = [split.name for split in leave_source_out(alike, seed=1)]
    assert folders == ["without-nord-s-d-1", "without-nord-s-d-2"]


def test_sources_with_both_classes_have_no_problem(rows):
    assert problems_of_sources(rows, Path("films.csv"), ("other", "covid")) == []


def test_a_source_with_one_class_is_named_with_all_its_rows(rows):
    chosen = [row for row in rows if row.source == "north" or row.label == "covid"]
    (fault,) = problems_of_sources(chosen, Path("films.csv"), ("other", "covid"))
    assert (fault.column, fault.code, fault.line) == ("label", "ONE_CLASS", 122)
    assert str(fault).startswith("films.csv:122: label: no film of south is other (lines 122-123, ")
    named = re.search(r"\(lines (.*?)\)", fault.what)[1]
    lines = set()
    for part in named.split(", "):
        first, _, last = part.partition("-")
        lines |= set(range(int(first), int(last or first) + 1))
    assert lines == {row.row for row in chosen if row.source == "south"}


def test_a_film_without_source_a_patient_of_two_and_a_single_source_are_named(rows):
    unknown = [*rows[:-1], replace(rows[-1], source=None)]
    (fault,) = problems_of_sources(unknown, Path("films.csv"), ("other", "covid"))
    assert (fault.line, fault.column) == (201, "source")
    moved = [*rows[:1], replace(rows[1], source="south"), *rows[2:]]
    (fault,) = problems_of_sources(moved, Path("films.csv"), ("other", "covid"))
    assert "patient p0 is of south here and of north in line 2" in str(fault)
    (fault,) = problems_of_sources(rows[:120], Path("films.csv"), ("other", "covid"))
    assert "all films are of north" in str(fault)
