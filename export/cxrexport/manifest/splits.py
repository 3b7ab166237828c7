"""Splits by patient: drawn, and checked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from cxrclient.files import TableFault, sha256_of
from cxrexport.manifest.cells import Split
from cxrexport.manifest.rows import FilmRow


def assign_splits(
    rows: Iterable[FilmRow],
    *,
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
) -> tuple[FilmRow, ...]:
    """Give every film a split, so that no patient is in two.

    Within each stratum (films of one source and label) the patients are shuffled by a hash of seed
    and patient, so the order of the rows does not matter, and each held-out split is filled up to
    its share of the stratum's films, to within half a patient. A patient of several strata counts
    in the one of most of their films.

    Args:
        rows: all films of the collection; filter afterwards, never before.
        fractions: share of films held out; `{"test": 0.15, "validation": 0.10}` by default.
        seed: another seed, another split.
    """
    rows = list(rows)
    fractions = {"test": 0.15, "validation": 0.10} if fractions is None else fractions
    if not set(fractions) <= {"test", "validation"}:
        raise ValueError(f"fractions name held-out splits (test, validation), not {set(fractions)}")
    if min(fractions.values(), default=0) < 0 or sum(fractions.values()) >= 1:
        raise ValueError(f"fractions must be at least 0 and leave films to train on: {fractions}")
    by_patient: dict[str, list[FilmRow]] = defaultdict(list)
    for row in rows:
        by_patient[row.patient_id].append(row)
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for patient, films in by_patient.items():
        counts = Counter((str(film.source), str(film.label)) for film in films)
        strata[min(counts, key=lambda stratum: (-counts[stratum], stratum))].append(patient)
    chosen: dict[str, Split] = {}
    for patients in strata.values():
        patients.sort(key=lambda patient: sha256_of(f"{seed}\0{patient}".encode()))
        sizes = {patient: len(by_patient[patient]) for patient in patients}
        for name in get_args(Split):
            room = fractions.get(name, 0.0) * sum(sizes.values())
            for patient in patients:
                if patient not in chosen and sizes[patient] / 2 <= room:
                    chosen[patient] = name
                    room -= sizes[patient]
    return tuple(replace(row, split=chosen.get(row.patient_id, "train")) for row in rows)


def check_splits(
    rows: Sequence[FilmRow], path: Path, labels: Collection[str] | None = None
) -> list[TableFault]:
    """Find splits that lack a class, and rows without a split among rows that have one.

    Args:
        rows: of one manifest; without any split they are looked at as a whole.
        path: of the manifest, only named.
        labels: the classes that every split must have; None takes those that the rows have, so that
            a manifest of one class (films with lung masks, say) is fine.
    """
    problems = []
    without = [row for row in rows if row.split is None]
    if 0 < len(without) < len(rows):
        what = (
            f"{len(without)} of {len(rows)} rows have no split, this is the first; give every row "
            "one, or none and the splits are drawn by patient"
        )
        problems.append(TableFault(path, without[0].row, "split", what, "CELL"))
    wanted = {row.label for row in rows if row.label} if labels is None else set(labels)
    for split in (*get_args(Split), None):
        inside = [row for row in rows if row.split == split]
        counts = Counter(row.label for row in inside)
        missing = sorted(wanted - set(counts))
        if inside and missing and not (split is None and len(inside) < len(rows)):
            place = f"the {split} split" if split else "the manifest"
            there = ", ".join(f"{n} {label}" for label, n in sorted(counts.items()))
            what = (
                f"{place} has no {' and no '.join(missing)} film (it has {there}); "
                f"add films{' or split again' if split else ''}"
            )
            problems.append(TableFault(path, 0, "label", what, "ONE_CLASS"))
    return problems
