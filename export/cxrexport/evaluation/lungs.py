"""How well the lung network finds the lungs: Dice and Hausdorff distance at the film's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.metrics import Interval

__all__ = ["FilmLungs", "LungFigures", "LungGroup", "WorstFilm", "compare_masks", "lung_figures"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FilmLungs:
    """One film's lung mask beside the true one.

    Attributes:
        row: line of the manifest.
        source: hospital or collection; None where it is not stated.
        patient: that resampling keeps together; never reported.
        dice: overlap, 0..1.
        hausdorff95: 95th percentile Hausdorff distance, per cent of the film's diagonal.
    """

    row: int
    source: str | None
    patient: str
    dice: float
    hausdorff95: float


@dataclass(frozen=True)
class LungGroup:
    """Films of one source, or all.

    Attributes:
        source: None for all films.
        films: how many.
        dice: mean with its interval.
        hausdorff95: mean with its interval, per cent of the film's diagonal.
        dice_median: median.
        hausdorff95_median: median.
    """

    source: str | None
    films: int
    dice: Interval
    hausdorff95: Interval
    dice_median: float
    hausdorff95_median: float


@dataclass(frozen=True)
class WorstFilm:
    """A film to look at, by its line in the manifest."""

    row: int
    dice: float
    hausdorff95: float


@dataclass(frozen=True)
class LungFigures:
    """Lungs over a study.

    Attributes:
        all: every film; None where no film has a true mask.
        by_source: in the order of their names; films without a stated source as `not stated`.
        worst: of lowest Dice first.
    """

    all: LungGroup | None
    by_source: tuple[LungGroup, ...]
    worst: tuple[WorstFilm, ...]


def compare_masks(
    predicted: Mask, truth: Mask, *, row: int, source: str | None, patient: str
) -> FilmLungs:
    """Compare two masks of one film, bool [rows, columns]."""
    raise NotImplementedError


def lung_figures(
    films: Sequence[FilmLungs], *, bootstrap: int = 100, seed: int = 0, worst: int = 10
) -> LungFigures:
    """Average over films, in all and by source, with intervals from resampled patients."""
    raise NotImplementedError
