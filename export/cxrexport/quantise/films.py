"""A manifest → films to calibrate with, and others that nothing was learnt from to judge on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrclient.files import sha256_of
from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, assign_splits, read_manifest


@dataclass(frozen=True)
class Chosen:
    """Rows of a manifest, without a patient in both.

    Attributes:
        calibration: of the train split.
        judged: all films of the test and validation splits.
    """

    calibration: tuple[FilmRow, ...]
    judged: tuple[FilmRow, ...]


def choose_films(manifest: Path, labels: tuple[str, str], count: int) -> Chosen:
    """Choose calibration films, evenly spread over the train split's classes and rows.

    Args:
        manifest: the CSV; where it has no splits they are drawn by patient, as for training.
        labels: the classes that may occur.
        count: calibration films wanted; fewer where the train split has fewer.

    Raises:
        ManifestError: rows that cannot be read, or a split without films.
    """
    rows: Sequence[FilmRow] = read_manifest(manifest, labels=labels)
    given = sum(row.split is not None for row in rows)
    if not given:
        rows = assign_splits(rows)
    elif given < len(rows):
        raise ManifestError(
            f"{manifest}: {len(rows) - given} of {len(rows)} rows have no split; give every row "
            "one, or none and the splits are drawn by patient"
        )
    train = sorted((row for row in rows if row.split == "train"), key=lambda row: row.label)
    judged = tuple(row for row in rows if row.split in ("test", "validation"))
    if not train:
        raise ManifestError(f"{manifest} has no film in the train split to calibrate with")
    if not judged:
        raise ManifestError(f"{manifest} has no film in the test or validation split to judge on")
    places = np.linspace(0, len(train) - 1, min(count, len(train))).round().astype(int)
    return Chosen(tuple(train[place] for place in places), judged)


def digest_of_files(rows: Sequence[FilmRow]) -> str:
    """Return the sha256 (hex) over the rows' files, in order."""
    return sha256_of(bytes.fromhex(sha256_of(row.image)) for row in rows)
