"""Films to compare runtimes on: from a manifest, or drawn."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrexport.errors import ManifestError
from cxrexport.preprocessing import PreprocessingSpec, preprocess

__all__ = ["parity_films"]


def parity_films(
    spec: PreprocessingSpec, count: int, manifest: Path | None = None
) -> npt.NDArray[np.float32]:
    """Preprocess films.

    Args:
        spec: the preprocessing.
        count: how many.
        manifest: take its films, evenly spread over its rows; None draws phantoms.

    Returns:
        float32 [count, 1, S, S] in 0..1.

    Raises:
        ManifestError: the manifest has fewer films.
    """
    from cxrexport.manifest import read_manifest

    if manifest is not None:
        rows = read_manifest(manifest)
        if len(rows) < count:
            raise ManifestError(f"{manifest} has {len(rows)} films, fewer than {count}.")
        paths = [rows[i].image for i in np.linspace(0, len(rows) - 1, count).astype(int)]
        return np.stack([preprocess(path.read_bytes(), spec).image for path in paths])
    from cxrexport.phantom import write_phantoms

    with tempfile.TemporaryDirectory() as folder:
        rows = read_manifest(write_phantoms(count, Path(folder), seed=0))
        return np.stack([preprocess(row.image.read_bytes(), spec).image for row in rows])
