"""From a film to the network's input: crop, scale, standardise, pad, equalise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cxrexport.preprocessing.crop import Box, film_box
from cxrexport.preprocessing.decode import decode_film
from cxrexport.preprocessing.film import DecodedFilm, refuse_constant
from cxrexport.preprocessing.geometry import Geometry
from cxrexport.preprocessing.spec import PreprocessingSpec

__all__ = ["Preprocessed", "preprocess", "preprocess_film"]

_Float32 = npt.NDArray[np.float32]
_TO_UNIT = np.arange(256, dtype=np.float32) * np.float32(1 / 255)


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """One film, ready for the networks.

    Attributes:
        image: float32 [1, S, S] in 0..1, dense bright; 0 where the square was padded.
        geometry: where each pixel of the square lies on the film.
        header_flags: what the header said, as stable codes.
    """

    image: _Float32
    geometry: Geometry
    header_flags: tuple[str, ...]


def preprocess(encoded: bytes, spec: PreprocessingSpec) -> Preprocessed:
    """Turn the bytes of one DICOM, PNG or JPEG file into the network's input.

    Raises:
        FilmError: the file holds no film that can be judged; the code says why.
    """
    return preprocess_film(decode_film(encoded), spec)


def preprocess_film(film: DecodedFilm, spec: PreprocessingSpec) -> Preprocessed:
    """Turn a decoded film into the network's input.

    Raises:
        Constant: every pixel has the same value.
    """
    box = film_box(film, spec)
    box, step = _whole_blocks(box, spec.size_px)
    size = _scaled_size(box, spec.size_px)
    geometry, place = _geometry(film, box, size, spec.size_px)
    black, white = _brightness_window(film, box, spec)
    square = np.zeros((spec.size_px, spec.size_px), dtype=np.uint8)
    square[place] = _standardised(_scaled(film.pixels, box, step, size), black, white)
    image = np.zeros((1, spec.size_px, spec.size_px), dtype=np.float32)
    image[0][place] = cv2.LUT(_equalised(square, spec)[place], _TO_UNIT)
    return Preprocessed(image, geometry, film.header_flags)


def _whole_blocks(box: Box, size_px: int) -> tuple[Box, int]:
    """Find how many film pixels to average first, and cut the box to whole blocks of them.

    Bilinear interpolation looks at two pixels on each axis, so beyond a factor of two it would
    skip film pixels and alias; averaging whole blocks first is exact and fast.
    """
    left, top, width, height = box
    step = max(1, max(width, height) // size_px)
    step = min(step, width, height)
    return (left, top, width - width % step, height - height % step), step


def _scaled_size(box: Box, size_px: int) -> tuple[int, int]:
    """Give width and height that the film takes in the square, the longer one filling it."""
    longer = max(box[2], box[3])
    return max(1, round(box[2] * size_px / longer)), max(1, round(box[3] * size_px / longer))


def _geometry(
    film: DecodedFilm, box: Box, size: tuple[int, int], size_px: int
) -> tuple[Geometry, tuple[slice, slice]]:
    """Give the affine of the corner-aligned scaling, and the film's place in the square."""
    left, top, width, height = box
    right, down = (size_px - size[0]) // 2, (size_px - size[1]) // 2
    a, e = width / size[0], height / size[1]
    affine = np.array(
        [
            [a, 0.0, left - 0.5 + (0.5 - right) * a],
            [0.0, e, top - 0.5 + (0.5 - down) * e],
        ]
    )
    rows, columns = film.pixels.shape
    place = slice(down, down + size[1]), slice(right, right + size[0])
    return Geometry(rows, columns, size_px, affine), place


def _brightness_window(film: DecodedFilm, box: Box, spec: PreprocessingSpec) -> tuple[float, float]:
    """Give what becomes 0 and 1: percentiles of the cropped film without its padding."""
    left, top, width, height = box
    step = max(1, max(width, height) // spec.percentile_grid)
    grid: Any = np.s_[top : top + height : step, left : left + width : step]
    sample = film.pixels[grid]
    if film.padding is not None:
        sample = sample[~film.padding[grid]]
    if sample.size:
        limits = np.percentile(sample, (spec.percentile_low, spec.percentile_high))
        if limits[1] > limits[0]:
            return float(limits[0]), float(limits[1])
    # Nearly all of the film has one value: take all of its range.
    low, high = float(film.pixels.min()), float(film.pixels.max())
    refuse_constant(low, high)
    return low, high


def _scaled(
    pixels: npt.NDArray[np.uint16], box: Box, step: int, size: tuple[int, int]
) -> npt.NDArray[np.uint16]:
    """Scale the box to `size` (width, height): means of whole blocks, then bilinear."""
    left, top, width, height = box
    part = pixels[top : top + height, left : left + width]
    if step > 1:
        part = cv2.resize(part, (width // step, height // step), interpolation=cv2.INTER_AREA)
    scaled = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(scaled, dtype=np.uint16).reshape(size[1], size[0])


def _standardised(
    scaled: npt.NDArray[np.uint16], black: float, white: float
) -> npt.NDArray[np.uint8]:
    """Spread black to white over 8 bits, what CLAHE works on; by a table, as in `through_table`."""
    values = np.arange(int(scaled.max()) + 1, dtype=np.float32)
    grey = np.clip((values - black) * (255.0 / (white - black)), 0.0, 255.0)
    table = np.rint(grey).astype(np.uint8)
    return np.take(table, scaled, mode="wrap", out=np.empty(scaled.shape, dtype=np.uint8))


def _equalised(square: npt.NDArray[np.uint8], spec: PreprocessingSpec) -> npt.NDArray[np.uint8]:
    if spec.clahe_clip_limit == 0:
        return square
    tiles = (spec.clahe_tiles, spec.clahe_tiles)
    return np.asarray(cv2.createCLAHE(spec.clahe_clip_limit, tiles).apply(square), dtype=np.uint8)
