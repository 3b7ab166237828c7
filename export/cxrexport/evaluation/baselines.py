"""Trivial baselines: what can be had without looking at the lungs.

A logistic regression on a thumbnail, on the film's aspect ratio, its view or the patient's age, on
the networks' own splits. A network that is not better than these has shown nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.scores import Evidence
from cxrexport.manifest import FilmRow

__all__ = [
    "BASELINES",
    "THUMBNAIL_PX",
    "Baseline",
    "aspect_ratios",
    "thumbnails",
    "trivial_baselines",
]

BASELINES = ("thumbnail", "aspect_ratio", "view", "age")
THUMBNAIL_PX = 24

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Baseline:
    """One trivial baseline's word on the test films.

    Attributes:
        name: one of BASELINES, or `source`.
        probability: of the positive class, for the films of `Evidence.pooled`, [N]; None where
            the baseline is absent.
        reason: why it is absent.
    """

    name: str
    probability: Floats | None
    reason: str | None = None


def thumbnails(
    films: Sequence[FilmRow], progress: Callable[[], None] | None = None
) -> npt.NDArray[np.float32]:
    """Look at each film from afar: the whole film, without preprocessing, as 24×24 greys.

    Args:
        films: N rows.
        progress: called after each film.

    Returns:
        float32 [N, 576] in 0..1.

    Raises:
        FilmError: a film cannot be read; the sentence begins with its file name.
    """
    raise NotImplementedError


def aspect_ratios(films: Sequence[FilmRow]) -> Floats:
    """Width over height of each film's file, from its header: [N]."""
    raise NotImplementedError


def trivial_baselines(
    evidence: Evidence,
    films: Sequence[FilmRow],
    thumbnail: npt.NDArray[np.float32] | None,
    aspect_ratio: Floats | None,
) -> tuple[Baseline, ...]:
    """Train each baseline on the training and validation films of each trial, score its test films.

    Args:
        evidence: gives the trials and their films.
        films: every film of the study once, N; told apart by `image`.
        thumbnail: of `thumbnails(films)`, [N, 576]; None leaves the baseline out.
        aspect_ratio: of `aspect_ratios(films)`, [N]; likewise.
    """
    raise NotImplementedError
