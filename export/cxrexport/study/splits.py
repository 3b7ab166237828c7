"""Which films each trial of a study learns from, chooses by and is judged on; always by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrclient.files import csv_text, write_whole
from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, assign_splits, read_table

__all__ = ["Split", "cross_validation", "make_folds", "random_splits", "read_folds", "write_folds"]

TEST_SHARE = 0.15
"""The study's 85/15."""
VALIDATION_SHARE = 0.10


@dataclass(frozen=True)
class Split:
    """One trial: all films of the study, each with its side.

    Attributes:
        name: of the trial and of its folder.
        rows: in the manifest's order, so that position i is the same film in every trial.
    """

    name: str
    rows: tuple[FilmRow, ...]

    def positions(self, side: str) -> list[int]:
        """Where the films of `train`, `validation` or `test` stand."""
        return [i for i, row in enumerate(self.rows) if row.split == side]


def random_splits(rows: Sequence[FilmRow], count: int, seed: int) -> tuple[Split, ...]:
    """Draw patient-wise 85/15 splits, stratified by source and label.

    Of the 85 %, a tenth of all films is kept to choose epochs by; the study chose them on the
    test set.
    """
    shares = {"test": TEST_SHARE, "validation": VALIDATION_SHARE}
    return tuple(
        Split(f"split-{k + 1:02d}", assign_splits(rows, fractions=shares, seed=seed + k))
        for k in range(count)
    )


def cross_validation(
    rows: Sequence[FilmRow], folds: Mapping[str, int], seed: int
) -> tuple[Split, ...]:
    """Make one trial a fold: its patients are the test set, a tenth of the others validates.

    Args:
        rows: the films.
        folds: patient → fold, from 1.
        seed: of the validation films' draw.

    Raises:
        ManifestError: patients without a fold.
    """
    missing = sorted({row.patient_id for row in rows} - set(folds))
    if missing:
        raise ManifestError(
            f"{len(missing)} patients have no fold, the first is in line "
            f"{next(r.row for r in rows if r.patient_id in set(missing))}; make the folds anew "
            "with `cxrexport manifest folds`."
        )
    trials = []
    for fold in sorted({folds[row.patient_id] for row in rows}):
        others = [row for row in rows if folds[row.patient_id] != fold]
        drawn = assign_splits(others, fractions={"validation": VALIDATION_SHARE}, seed=seed + fold)
        side = {row.patient_id: row.split for row in drawn}
        trials.append(
            Split(
                f"fold-{fold:02d}",
                tuple(replace(row, split=side.get(row.patient_id, "test")) for row in rows),
            )
        )
    return tuple(trials)


def make_folds(rows: Sequence[FilmRow], count: int, seed: int) -> dict[str, int]:
    """Give each patient a fold from 1 to `count`, alike in source and label.

    Raises:
        ManifestError: fewer patients than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    patients = np.array([row.patient_id for row in rows])
    if not 2 <= count <= len(set(patients)):
        raise ManifestError(f"{len(set(patients))} patients cannot make {count} folds.")
    strata = np.array([f"{row.source}\0{row.label}" for row in rows])
    order = np.argsort(patients, kind="stable")  # the manifest's order must not matter
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    folds: dict[str, int] = {}
    for fold, (_, test) in enumerate(
        splitter.split(order, strata[order], groups=patients[order]), start=1
    ):
        folds |= {str(patient): fold for patient in patients[order][test]}
    return folds


def write_folds(folds: Mapping[str, int], path: Path) -> None:
    """Write `patient_id,fold`, sorted by patient."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, csv_text(("patient_id", "fold"), sorted(folds.items())), secret=True)


def read_folds(path: Path) -> dict[str, int]:
    """Read what `write_folds` wrote.

    Raises:
        ManifestError: every problem, with its line.
    """
    folds: dict[str, int] = {}
    problems = []
    for record in read_table(path, required=("patient_id", "fold")):
        patient, fold = record.cells["patient_id"], record.cells["fold"]
        if not fold.isdecimal() or int(fold) < 1:
            problems.append(f"{path}:{record.line}: fold: {fold!r} is no number from 1")
        elif patient in folds:
            problems.append(f"{path}:{record.line}: patient_id: {patient} is there twice")
        else:
            folds[patient] = int(fold)
    if not problems and len(set(folds.values())) < 2:
        problems.append(f"{path}: fold: all patients are in one fold")
    if problems:
        raise ManifestError("\n".join(problems))
    return folds
