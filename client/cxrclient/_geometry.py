"""Reading the GEOMETRY tensor: how the network's square lies on the film.

The tensor is [H, W, a, b, c, d, e, f]: film height and width in pixels, and the affine from the
centre (x, y) of a network pixel to film pixel centres, `film_x = a·x + b·y + c`,
`film_y = d·x + e·y + f`; a whole number is a centre.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LUNG_PROBABILITY", "film_size", "lung_fraction", "network_to_film"]

FloatArray = npt.NDArray[np.floating[Any]]

LUNG_PROBABILITY = 0.5
"""From here on a pixel counts as lung, in masks, contours and fractions alike."""


def film_size(geometry: FloatArray) -> tuple[int, int]:
    """Height and width of the film in pixels.

    Raises:
        ValueError: the tensor has not eight finite numbers, or turns the film inside out.
    """
    numbers = np.asarray(geometry, dtype=np.float64)
    if numbers.shape != (8,) or not np.isfinite(numbers).all():
        raise ValueError(f"geometry must be 8 finite numbers, not {numbers.shape}")
    a, b, _, d, e, _ = numbers[2:]
    if numbers[0] < 1 or numbers[1] < 1 or a * e - b * d == 0:
        raise ValueError("geometry describes no film")
    return round(float(numbers[0])), round(float(numbers[1]))


def network_to_film(geometry: FloatArray) -> npt.NDArray[np.float64]:
    """The affine as [2, 3], from network pixel centres to film pixel centres."""
    return np.asarray(geometry, dtype=np.float64)[2:].reshape(2, 3)


def lung_fraction(lungs: FloatArray, geometry: FloatArray) -> float:
    """Share of the film's area where the lung probability is at least one half.

    Counted on the network's square, each pixel with the area of the film that it covers, so that
    no film-sized mask is made for every prediction; what pads the film to a square counts nothing.

    Args:
        lungs: [S, S], probability.
        geometry: [8].

    Returns:
        0..1.
    """
    height, width = film_size(geometry)
    (a, b, c), (d, e, f) = network_to_film(geometry)
    if b or d:
        raise ValueError("geometry turns or shears the film")
    size_px = lungs.shape[0]
    covered = _covered(size_px, e, f, height) @ (lungs >= LUNG_PROBABILITY)
    return float(covered @ _covered(size_px, a, c, width)) / (height * width)


def _covered(size_px: int, scale: float, offset: float, length: int) -> npt.NDArray[np.float64]:
    """Film pixels that each network row or column covers, parts included: [size_px]."""
    edges = scale * (np.arange(size_px + 1) - 0.5) + offset
    return np.asarray(np.abs(np.diff(np.clip(edges, -0.5, length - 0.5))))
