"""How well the lung network finds the lungs: Dice and Hausdorff distance at the film's size.

Distances are in per cent of the film's diagonal. Not in millimetres: a JPEG does not say how large
its pixels are. Not in pixels: films of different sizes would count differently.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.measures import BOOTSTRAP, Interval, interval, resamples

Mask = npt.NDArray[np.bool_]

NOT_STATED = "not stated"


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
    """Compare two masks of one film.

    Two empty masks agree: Dice 1, distance 0. One empty mask has no boundary to measure from: Dice
    0, and the distance is the diagonal, the largest that a film allows.

    Args:
        predicted: bool [rows, columns], at the film's size.
        truth: likewise.
        row: line of the manifest.
        source: of the film.
        patient: of the film.

    Raises:
        ValueError: the masks are not bool [rows, columns] of one size.
    """
    if predicted.ndim != 2 or predicted.shape != truth.shape or not predicted.size:
        raise ValueError(f"masks must be [rows, columns], not {predicted.shape} and {truth.shape}")
    if predicted.dtype != bool or truth.dtype != bool:
        raise ValueError(f"masks must be bool, not {predicted.dtype} and {truth.dtype}")
    total = int(predicted.sum()) + int(truth.sum())
    dice = 2 * int((predicted & truth).sum()) / total if total else 1.0
    if predicted.any() and truth.any():
        distance = 100 * _hausdorff95(predicted, truth) / math.hypot(*truth.shape)
    else:
        distance = 100.0 if total else 0.0
    return FilmLungs(row, source, patient, dice, distance)


def lung_figures(
    films: Sequence[FilmLungs], *, bootstrap: int = BOOTSTRAP, seed: int = 0, worst: int = 10
) -> LungFigures:
    """Average over films, in all and by source, with intervals from resampled patients.

    Args:
        films: at film size, from `compare_masks`; their order does not matter.
        bootstrap: resamples behind each interval.
        seed: of the resamples.
        worst: how many of the worst films are listed.
    """
    films = sorted(films, key=lambda film: (film.row, film.patient))
    sources = sorted({film.source or NOT_STATED for film in films})
    groups = [
        _group(
            [film for film in films if (film.source or NOT_STATED) == source],
            source,
            bootstrap,
            seed,
        )
        for source in sources
    ]
    by_dice = sorted(films, key=lambda film: (film.dice, -film.hausdorff95, film.row))
    return LungFigures(
        all=_group(films, None, bootstrap, seed) if films else None,
        by_source=tuple(groups),
        worst=tuple(WorstFilm(film.row, film.dice, film.hausdorff95) for film in by_dice[:worst]),
    )


def _hausdorff95(predicted: Mask, truth: Mask) -> float:
    """MONAI's 95th percentile Hausdorff distance in film pixels; neither mask is empty."""
    import torch
    from monai.metrics import compute_hausdorff_distance

    def batch(mask: Mask) -> torch.Tensor:
        return torch.from_numpy(mask)[None, None]

    with warnings.catch_warnings():
        # MONAI 1.6 warns of an argument that it passes to itself.
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        distance = compute_hausdorff_distance(
            batch(predicted), batch(truth), include_background=True, percentile=95
        )
    return float(distance)


def _group(films: Sequence[FilmLungs], source: str | None, bootstrap: int, seed: int) -> LungGroup:
    dice = np.array([film.dice for film in films])
    distance = np.array([film.hausdorff95 for film in films])
    patients = np.array([film.patient for film in films])
    # There is no class here that a resample could lack.
    weights = resamples(
        np.ones(len(films), dtype=bool), bootstrap=bootstrap, seed=seed, groups=patients
    )
    drawn = weights.sum(axis=1)
    return LungGroup(
        source=source,
        films=len(films),
        dice=interval(float(dice.mean()), weights @ dice / drawn),
        hausdorff95=interval(float(distance.mean()), weights @ distance / drawn),
        dice_median=float(np.median(dice)),
        hausdorff95_median=float(np.median(distance)),
    )
