"""Films for training: preprocessed once, in memory or on disk, augmented anew each time."""

from __future__ import annotations

from cxrexport.training.films.features import (
    FEATURES as FEATURES,
    Frozen as Frozen,
    cached_films as cached_films,
    check_room as check_room,
    compute_features as compute_features,
    features_of as features_of,
)
from cxrexport.training.films.in_memory import (
    LABEL as LABEL,
    MappedFilms as MappedFilms,
    cache_films as cache_films,
    films_of_maps as films_of_maps,
    with_splits as with_splits,
)
from cxrexport.training.films.on_disk import (
    Maps as Maps,
    mapped_films as mapped_films,
    mapped_lungs as mapped_lungs,
)
from cxrexport.training.films.transforms import (
    FILM as FILM,
    LUNGS as LUNGS,
    ClampToUnitd as ClampToUnitd,
    PreprocessFilmd as PreprocessFilmd,
    augmentations as augmentations,
)
