"""Which films each trial of a study learns from, chooses by and is judged on; always by patient."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrclient.files import TableFault, csv_text, write_whole
from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, assign_splits, read_table

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


def leave_source_out(rows: Sequence[FilmRow], seed: int) -> tuple[Split, ...]:
    """Make one trial a source: its films are the test set, a tenth of the others validates.

    Args:
        rows: the films, without `problems_of_sources`.
        seed: of the validation films' draw.
    """
    names = _trial_names(sorted({row.source for row in rows if row.source}))
    trials = []
    for source, name in names.items():
        others = [row for row in rows if row.source != source]
        drawn = iter(assign_splits(others, fractions={"validation": VALIDATION_SHARE}, seed=seed))
        sides = (replace(r, split="test") if r.source == source else next(drawn) for r in rows)
        trials.append(Split(name, tuple(sides)))
    return tuple(trials)


def _trial_names(sources: Sequence[str]) -> dict[str, str]:
    """Source → name of its trial, which is a folder's too; numbered where two would be one."""
    plain = {source: re.sub(r"[^a-z0-9]+", "-", source.lower()).strip("-") for source in sources}
    often = Counter(plain.values())
    return {
        source: f"without-{name}" if name and often[name] == 1 else f"without-{name}-{k}"
        for k, (source, name) in enumerate(plain.items(), start=1)
    }


def problems_of_sources(
    rows: Sequence[FilmRow], manifest: Path, labels: tuple[str, str]
) -> list[TableFault]:
    """Find what keeps a source from being left out: each must be stated, and have both classes.

    Args:
        rows: of one manifest.
        manifest: only named.
        labels: negative and positive class.
    """
    what = "empty, and leaving a source out needs every film's source"
    faults = [TableFault(manifest, row.row, "source", what) for row in rows if not row.source]
    films: dict[str, list[FilmRow]] = {}
    home: dict[str, FilmRow] = {}
    for row in rows:
        if row.source:
            films.setdefault(row.source, []).append(row)
            first = home.setdefault(row.patient_id, row)
            if first.source != row.source:
                what = (
                    f"patient {row.patient_id} is of {row.source} here and of {first.source} in "
                    f"line {first.row}; give them one source, or two patient_ids if they are two"
                )
                fault = TableFault(manifest, row.row, "source", what, "PATIENT_IN_TWO_SPLITS")
                faults.append(fault)
    if len(films) == 1:
        what = f"all films are of {next(iter(films))}, so none can be left out; use --splits"
        faults.append(TableFault(manifest, 0, "source", what))
    for source, here in films.items():
        there = {row.label for row in here}
        if missing := [label for label in labels if label not in there]:
            what = (
                f"no film of {source} is {' and none is '.join(missing)} "
                f"({_lines([row.row for row in here])}), so nothing can be judged there; add films "
                "of that class, or leave these rows out"
            )
            faults.append(TableFault(manifest, here[0].row, "label", what, "ONE_CLASS"))
    return faults


def _lines(rows: Sequence[int]) -> str:
    """`line 7`, or `lines 2-40, 55`: every row, neighbours together."""
    spans: list[list[int]] = []
    for row in sorted(rows):
        if spans and row == spans[-1][1] + 1:
            spans[-1][1] = row
        else:
            spans.append([row, row])
    words = [f"{a}" if a == b else f"{a}-{b}" for a, b in spans]
    return f"line{'s' if len(rows) > 1 else ''} {', '.join(words)}"


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
