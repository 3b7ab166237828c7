"""Which films calibrate and which judge."""

from __future__ import annotations

import dataclasses

import pytest

from cxrexport.errors import ManifestError
from cxrexport.manifest import write_manifest
from cxrexport.quantise.films import choose_films, digest_of_files

LABELS = ("non-covid", "covid")


def written(rows, path):
    write_manifest(rows, path)
    return path


def test_calibration_films_are_of_the_train_split_and_judged_ones_of_the_others(phantom_manifest):
    chosen = choose_films(phantom_manifest, LABELS, 1000)
    assert {row.split for row in chosen.calibration} == {"train"}
    assert {row.split for row in chosen.judged} == {"test", "validation"}
    assert len(chosen.calibration) + len(chosen.judged) == 24


def test_no_patient_calibrates_and_is_judged_where_the_manifest_has_no_splits(
    phantom_rows, tmp_path
):
    rows = [dataclasses.replace(row, split=None) for row in phantom_rows]
    chosen = choose_films(written(rows, tmp_path / "films.csv"), LABELS, 1000)
    patients = [{row.patient_id for row in part} for part in (chosen.calibration, chosen.judged)]
    assert all(patients)
    assert patients[0].isdisjoint(patients[1])


def test_few_calibration_films_are_of_both_classes(phantom_manifest):
    chosen = choose_films(phantom_manifest, LABELS, 4)
    assert len(set(chosen.calibration)) == 4
    assert {row.label for row in chosen.calibration} == set(LABELS)


@pytest.mark.parametrize(
    ("split", "words"),
    [("test", "no film in the train split"), ("train", "no film in the test or validation split")],
)
def test_a_manifest_without_a_part_is_refused(phantom_rows, tmp_path, split, words):
    rows = [dataclasses.replace(row, split=split) for row in phantom_rows]
    with pytest.raises(ManifestError, match=words):
        choose_films(written(rows, tmp_path / "films.csv"), LABELS, 4)


def test_splits_on_some_rows_only_are_refused(phantom_rows, tmp_path):
    rows = [
        dataclasses.replace(row, patient_id=row.image.stem, split=row.split if number else None)
        for number, row in enumerate(phantom_rows)
    ]
    with pytest.raises(ManifestError, match="1 of 24 rows have no split"):
        choose_films(written(rows, tmp_path / "films.csv"), LABELS, 4)


def test_films_of_other_classes_are_refused(phantom_manifest):
    with pytest.raises(ManifestError, match="covid"):
        choose_films(phantom_manifest, ("normal", "tb"), 4)


def test_the_digest_names_the_films_and_their_order(phantom_rows):
    first, second = phantom_rows[:2]
    assert digest_of_files([first, second]) == digest_of_files([first, second])
    assert digest_of_files([first, second]) != digest_of_files([second, first])
