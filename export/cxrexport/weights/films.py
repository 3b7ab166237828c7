"""The films that norms and the transplant are fitted on: those whose licence permits any use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, read_manifest
from cxrexport.manifest.preprocessed import preprocessed
from cxrexport.networks import make_backbone
from cxrexport.preprocessing import PreprocessingSpec

PERMISSIVE = "A-permissive"
FEWEST_FILMS, MOST_FILMS = 16, 180
SIZE_PX = 256
"""What the measurements of docs/adr/0022 were made at."""


def choose_films(manifest: Path) -> list[FilmRow]:
    """Choose films of licence tier A-permissive, evenly from a manifest.

    Raises:
        ManifestError: cells that are wrong, or too few such films.
    """
    rows = [row for row in read_manifest(manifest) if row.licence_tier == PERMISSIVE]
    if len(rows) < FEWEST_FILMS:
        raise ManifestError(
            f"{manifest} has {len(rows)} films with {PERMISSIVE} in the column licence_tier, and "
            f"{FEWEST_FILMS} are needed: the weights' licence depends on the films they were "
            "fitted on. `cxrexport data` fills the column for the public collections."
        )
    positions = np.linspace(0, len(rows) - 1, min(MOST_FILMS, len(rows)), dtype=int)
    return [rows[i] for i in positions]


def normalised(rows: Sequence[FilmRow]) -> torch.Tensor:
    """Films without lung maps as a backbone's first part takes them: [N, 3, SIZE_PX, SIZE_PX].

    Raises:
        FilmError: a film cannot be judged.
    """
    spec = PreprocessingSpec(size_px=SIZE_PX)
    films = torch.from_numpy(np.concatenate(list(preprocessed(rows, spec, lambda: None))))
    return make_backbone("vgg16", 0.125).enter(films, torch.zeros_like(films))


def films_in_words(rows: Sequence[FilmRow]) -> str:
    """Name the films by their sources, and one by one."""
    sources = Counter(row.source or "unknown source" for row in rows)
    counted = ", ".join(f"{count} of {source}" for source, count in sorted(sources.items()))
    names = ", ".join(row.image.name for row in rows)
    return f"{len(rows)} films of licence tier {PERMISSIVE} ({counted}), no labels: {names}"
