"""Films to compare runtimes on: from a manifest, or one real film and drawn ones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cxrexport.errors import ManifestError
from cxrexport.preprocessing import PreprocessingSpec, preprocess

REAL = "RG1_UNCR.dcm"
"""A CR film of a chest, in the PyPI package pydicom-data."""


class ParityFilms(NamedTuple):
    """Films that two runtimes are compared on.

    Attributes:
        images: float32 [n, 1, S, S] in 0..1.
        real: how many of them were taken of a person; the others are drawn.
    """

    images: npt.NDArray[np.float32]
    real: int


def parity_films(spec: PreprocessingSpec, count: int, manifest: Path | None = None) -> ParityFilms:
    """Preprocess films.

    Args:
        spec: the preprocessing.
        count: how many.
        manifest: take its films, evenly spread over its rows. None takes the real film of
            pydicom-data where that is installed, and draws the others.

    Raises:
        ManifestError: the manifest has fewer films.
    """
    from cxrexport.manifest import read_manifest
    from cxrexport.phantom import write_phantoms

    def read(paths: Iterable[Path]) -> npt.NDArray[np.float32]:
        return np.stack([preprocess(path.read_bytes(), spec).image for path in paths])

    if manifest is not None:
        rows = read_manifest(manifest)
        if len(rows) < count:
            raise ManifestError(f"{manifest} has {len(rows)} films, fewer than {count}.")
        chosen = np.linspace(0, len(rows) - 1, count).astype(int)
        return ParityFilms(read(rows[i].image for i in chosen), count)
    real = _real_films()[:count]
    with tempfile.TemporaryDirectory() as folder:
        drawn: list[Path] = []
        if count > len(real):
            drawings = write_phantoms(count - len(real), Path(folder), seed=0)
            drawn = [row.image for row in read_manifest(drawings)]
        return ParityFilms(read([*real, *drawn]), len(real))


def _real_films() -> list[Path]:
    from pydicom.data import get_testdata_file

    found = get_testdata_file(REAL, download=False)  # never fetched: a GPU node may be offline
    return [] if found is None else [Path(str(found))]
