"""Which films a run learnt from and which it kept for its test, so that it is judged on those.

films.json of each network has the digests that it learnt from or was chosen by; splits.csv of the
run has every film that it was given, for people and for the next command. Films are known by their
digest there, and by their file's name; neither file has a patient's number.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from cxrclient.files import TableFault, csv_text, sha256_of, write_whole
from cxrexport.errors import CheckpointError
from cxrexport.manifest import FilmRow, Split, assign_splits, read_table
from cxrexport.training.run.folder import NETWORKS, Run, read_json

SPLITS = "splits.csv"
LEARNT = ("train", "validation")

_FILE = "films.json"
_COLUMNS = ("split", "label", "image", "sha256")
_SIDES: tuple[Split, ...] = get_args(Split)
"""Of two sides of one film or patient the earlier one counts: who was learnt from once is known."""


def note_films(
    run: Run,
    networks: Iterable[str],
    rows: Sequence[FilmRow],
    hashed: Sequence[str] | None = None,
) -> None:
    """Write down the films that networks learn from or are chosen by, and the run's split.

    Args:
        run: the run.
        networks: that are about to be trained.
        rows: with splits.
        hashed: the files' sha256, in the rows' order, where they are known.
    """
    networks = list(networks)
    hashed = [sha256_of(row.image) for row in rows] if hashed is None else hashed
    digests = sorted(d for d, row in zip(hashed, rows, strict=True) if row.split in LEARNT)
    for network in networks:
        folder = run.folder(network).path
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _FILE, json.dumps(digests, indent=0) + "\n")
    others = films_learnt_from(run, [name for name in NETWORKS if name not in networks])
    before = {
        line["sha256"]: line
        for line in _read_splits(run)
        if line["split"] not in LEARNT or line["sha256"] in (others or ())
    }
    root = os.path.commonpath([row.image.parent for row in rows])
    lines: dict[str, dict[str, str]] = {
        digest: {
            "split": _first(row.split, before.get(digest, {}).get("split")) or "",
            "label": row.label,
            "image": row.image.relative_to(root).as_posix(),
            "sha256": digest,
        }
        for digest, row in zip(hashed, rows, strict=True)
    }
    cells = ([line[name] for name in _COLUMNS] for line in {**before, **lines}.values())
    write_whole(run.path / SPLITS, csv_text(_COLUMNS, cells), secret=True)


def films_learnt_from(run: Run, networks: Iterable[str]) -> frozenset[str] | None:
    """Sha256 of the files that any of these networks learnt from or was chosen by.

    Returns:
        None if no network says so: trained before this was noted.
    """
    noted = [path for name in networks if (path := run.folder(name).path / _FILE).is_file()]
    if not noted:
        return None
    return frozenset(digest for path in noted for digest in read_json(path))


def splits_of_runs(rows: Sequence[FilmRow], runs: Iterable[Run]) -> tuple[FilmRow, ...]:
    """Give films without splits those of the runs' splits.csv; None where no run knows the patient.

    A film is known by its digest. All films of one patient are on one side, also those that no run
    ever saw.

    Args:
        rows: of one manifest.
        runs: a film that any of them learnt from was learnt from.

    Raises:
        CheckpointError: a splits.csv that is damaged.
    """
    known: dict[str, Split | None] = {}
    for line in (line for run in runs for line in _read_splits(run)):
        known[line["sha256"]] = _first(line["split"], known.get(line["sha256"]))
    sides: dict[str, Split | None] = {}
    for row in rows if known else ():
        if row.image.is_file():
            digest = sha256_of(row.image)
            sides[row.patient_id] = _first(known.get(digest), sides.get(row.patient_id))
    return tuple(replace(row, split=sides.get(row.patient_id)) for row in rows)


def draw_splits(rows: Sequence[FilmRow], runs: Iterable[Run], seed: int) -> tuple[FilmRow, ...]:
    """Give films without splits those of the runs, and draw the others' by patient.

    Args:
        rows: of one manifest.
        runs: as in `splits_of_runs`.
        seed: of the draw.
    """
    known = splits_of_runs(rows, runs)
    drawn = iter(assign_splits([row for row in known if row.split is None], seed=seed))
    return tuple(next(drawn) if row.split is None else row for row in known)


def splits_in_words(rows: Iterable[FilmRow]) -> str:
    """How many films are on which side."""
    counts = Counter(row.split for row in rows)
    return ", ".join(f"{counts[side]} {side}" for side in _SIDES)


def problems_of_learnt_films(
    rows: Iterable[FilmRow], manifest: Path, learnt: frozenset[str]
) -> list[TableFault]:
    """Name the films that are to be judged and that the networks know."""
    what = (
        "the networks learnt from this film; evaluate with the splits that they were trained with, "
        "or leave it out"
    )
    return [
        TableFault(manifest, row.row, "image", what, "LEARNT")
        for row in rows
        if row.split not in LEARNT and sha256_of(row.image) in learnt
    ]


def _read_splits(run: Run) -> list[dict[str, str]]:
    """The lines of a run's splits.csv; none where it has none: of before it was written."""
    path = run.path / SPLITS
    if not path.is_file():
        return []
    lines = [dict(record.cells) for record in read_table(path, required=_COLUMNS)]
    if unknown := sorted({line["split"] for line in lines} - set(_SIDES)):
        raise CheckpointError(
            f"{path}: there is no split {unknown[0]!r}; mend it, or delete the file and give a "
            "manifest with the splits that the run was trained with."
        )
    return lines


def _first(*sides: str | None) -> Split | None:
    return next((side for side in _SIDES if side in sides), None)
