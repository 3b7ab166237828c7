"""Films for training: preprocessed once, in memory or on disk, augmented anew each time."""

from __future__ import annotations

from cxrexport.training.films.features import (
    FEATURES,
    Frozen,
    cached_films,
    check_room,
    compute_features,
)
from cxrexport.training.films.in_memory import (
    LABEL,
    MappedFilms,
    cache_films,
    films_of_maps,
    with_splits,
)
from cxrexport.training.films.on_disk import Maps, mapped_films, mapped_lungs
from cxrexport.training.films.transforms import (
    FILM,
    LUNGS,
    ClampToUnitd,
    PreprocessFilmd,
    augmentations,
)

__all__ = [
    "FEATURES",
    "FILM",
    "LABEL",
    "LUNGS",
    "ClampToUnitd",
    "Frozen",
    "MappedFilms",
    "Maps",
    "PreprocessFilmd",
    "augmentations",
    "cache_films",
    "cached_films",
    "check_room",
    "compute_features",
    "films_of_maps",
    "mapped_films",
    "mapped_lungs",
    "with_splits",
]
