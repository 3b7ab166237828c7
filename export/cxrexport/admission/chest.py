"""How much a film and its lung map look like an upright frontal chest film: one number.

A logistic regression over the 24 named features and the film in 8 x 8 cells. Its weights are
constants in `chest.json`, fitted by `benchmarks/admission.py --write` on half of the patients of
the development films against pictures, turned, inverted and cropped films of that half; the
threshold is each repository's own (`Reference`), for lung maps are its networks'.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cxrexport.admission.features import NAMES, Picture, measure

Vector = npt.NDArray[np.float64]

CELLS = 8
LIMIT = 4.0
"""No feature counts for more than this many standard deviations of a chest film's."""
_FILE = Path(__file__).with_name("chest.json")


@dataclass(frozen=True)
class Chest:
    """What the pixels say.

    Attributes:
        score: log odds of a chest film against what it was trained against; without a scale of
            its own, so it is compared with thresholds only.
        likeness: correlation of the film in 8 x 8 cells with the mean chest film, -1..1; an
            inverted film's is far below 0.
        lungs: share of the film that is lung, its two largest parts, 0..1.
        two_lungs: whether the lung map has two parts of similar size and height, side by side.
    """

    score: float
    likeness: float
    lungs: float
    two_lungs: bool


@dataclass(frozen=True, eq=False)
class ChestWeights:
    """The constants of the regression, all in the order of `vector`.

    Attributes:
        mean: of chest films.
        spread: standard deviation of chest films.
        weights: of the standardised features.
        intercept: added to their sum.
        origin: what they were fitted on, in words.
    """

    mean: Vector
    spread: Vector
    weights: Vector
    intercept: float
    origin: str

    def score(self, values: Vector) -> float:
        """Give the log odds of one `vector`."""
        standard = np.clip((values - self.mean) / self.spread, -LIMIT, LIMIT)
        return float(standard @ self.weights) + self.intercept


@functools.cache
def chest_weights() -> ChestWeights:
    """Read the constants that come with the package."""
    told = json.loads(_FILE.read_text(encoding="utf-8"))
    return ChestWeights(
        mean=np.array(told["mean"], dtype=np.float64),
        spread=np.array(told["spread"], dtype=np.float64),
        weights=np.array(told["weights"], dtype=np.float64),
        intercept=float(told["intercept"]),
        origin=str(told["origin"]),
    )


def vector(picture: Picture) -> Vector:
    """Give all features of a film: NAMES, then the 8 x 8 cells row by row, standardised."""
    cells = cv2.resize(picture.film, (CELLS, CELLS), interpolation=cv2.INTER_AREA).ravel()
    # The spread of a film without any contrast is not divided by.
    cells = (cells - cells.mean()) / (cells.std() + 1e-3)
    return np.concatenate([measure(picture), cells])


def look(picture: Picture, weights: ChestWeights | None = None) -> Chest:
    """Judge one film by its pixels."""
    weights = weights or chest_weights()
    values = vector(picture)
    named = dict(zip(NAMES, values, strict=False))
    mean_film = weights.mean[len(NAMES) :]
    cells = values[len(NAMES) :]
    flat = cells.std() < 1e-6
    return Chest(
        score=weights.score(values),
        likeness=0.0 if flat else float(np.corrcoef(cells, mean_film)[0, 1]),
        lungs=named["lungs"] * named["in_two"],
        two_lungs=named["balance"] >= 0.2 and named["apart"] >= 0.2 and named["level"] <= 0.25,
    )
