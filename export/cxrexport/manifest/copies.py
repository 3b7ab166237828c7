"""Copies of one film that differ in every pixel: exported again in 8 bits, smaller, or with loss.

Two measures must agree. The coarse one, the correlation of 32x32 thumbnails, compares shape and
brightness, and is cheap enough for every pair. The fine one compares 96x96 thumbnails less their
own blur, each part at its own contrast, so that ribs and noise count as much as borders and
writing; it is computed for the few pairs that the first lets through. What they are on real films:
docs/adr/0009.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

COARSE, FINE = 0.98, 0.83
"""What two films must reach to be copies of each other.

Source: our measurement. Of any two of 1167 real films the coarse one is at most 0.971, the fine one
0.357; of a film and its copy (half the size, JPEG of quality 50, gamma 0.7) at least 0.989 and
0.853.
"""

_COARSE_PX, _FINE_PX = 32, 96
_BLOCK = 2048

_Sketch = npt.NDArray[np.float32]


def coarse_sketch(pixels: npt.NDArray[np.uint16]) -> _Sketch:
    """Reduce a film to float32 [1024] of mean 0 and length 1, whatever its size and unit."""
    return _unit(_thumbnail(pixels, _COARSE_PX))


def fine_sketch(pixels: npt.NDArray[np.uint16]) -> _Sketch:
    """Reduce a film's detail to float32 [9216] of mean 0 and length 1."""
    small = _thumbnail(pixels, _FINE_PX)
    detail = small - cv2.GaussianBlur(small, (0, 0), 1.0)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 3.0))
    floor = 1e-3 * float(np.ptp(small)) + 1e-6  # what is even has no detail to bring out
    return _unit(detail / (contrast + np.float32(floor)))


def find_copies(
    coarse: Sequence[_Sketch], fine: Callable[[int], _Sketch | None]
) -> Iterator[tuple[int, int, float]]:
    """Give each film that is a copy of an earlier one, with the first such and their fine measure.

    Args:
        coarse: a sketch for each film.
        fine: gives a film's fine sketch; None where it cannot be had.
    """
    known: dict[int, _Sketch | None] = {}
    seen = set()
    for later, earlier in _alike(coarse):
        if later in seen:
            continue
        for film in (later, earlier):
            if film not in known:
                known[film] = fine(film)
        one, other = known[later], known[earlier]
        if one is None or other is None:
            continue
        likeness = float(np.dot(one, other))
        if likeness >= FINE:
            seen.add(later)
            yield later, earlier, likeness


def _alike(coarse: Sequence[_Sketch]) -> Iterator[tuple[int, int]]:
    """Give the pairs that reach COARSE: the later film, then the earlier, in order."""
    if not coarse:
        return
    films = np.stack(coarse)
    for start in range(0, len(films), _BLOCK):
        block = films[start : start + _BLOCK]
        alike = block @ films[: start + len(block)].T >= COARSE
        for row, column in np.argwhere(alike):
            if column < start + row:
                yield int(start + row), int(column)


def _thumbnail(pixels: npt.NDArray[np.uint16], side_px: int) -> npt.NDArray[np.float32]:
    step = max(1, min(pixels.shape) // (8 * side_px))  # a mean of 64 pixels or more is enough
    thin = np.ascontiguousarray(pixels[::step, ::step])
    small = cv2.resize(thin, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def _unit(values: npt.NDArray[np.float32]) -> _Sketch:
    flat = values.ravel() - values.mean()
    length = float(np.linalg.norm(flat))
    return np.asarray(flat / length if length else flat, dtype=np.float32)
