"""From a film to the network's input: crop, scale, standardise, pad, equalise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from cxrclient.pixels import DecodedFilm, StoredFilm, decode_stored, refuse_constant, taken
from cxrexport.preprocessing.crop import Box, film_box
from cxrexport.preprocessing.geometry import Geometry
from cxrexport.preprocessing.percentiles import percentiles
from cxrexport.preprocessing.spec import PreprocessingSpec

_Float32 = npt.NDArray[np.float32]
# Film pixels that are looked up and averaged at once: few calls, and a MB that stays in cache.
_STRIP_PX = 1 << 19
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
    return _prepared(decode_stored(encoded), spec)


def preprocess_film(film: DecodedFilm, spec: PreprocessingSpec) -> Preprocessed:
    """Turn a decoded film into the network's input.

    Raises:
        Constant: every pixel has the same value.
    """
    return _prepared(StoredFilm.of(film), spec)


def _prepared(film: StoredFilm, spec: PreprocessingSpec) -> Preprocessed:
    box = film_box(film, spec)
    box, step = _whole_blocks(box, spec.size_px)
    size = _scaled_size(box, spec.size_px)
    geometry, place = _geometry(film, box, size, spec.size_px)
    black, white = _brightness_window(film, box, spec)
    grey = _standardised(_scaled(film, box, step, size), black, white)
    equalised = _equalised(_padded(grey, place, spec.size_px), spec)
    return Preprocessed(_assembled(equalised, place), geometry, film.header_flags)


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
    film: StoredFilm, box: Box, size: tuple[int, int], size_px: int
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
    rows, columns = film.shape
    place = slice(down, down + size[1]), slice(right, right + size[0])
    return Geometry(rows, columns, size_px, affine), place


def _brightness_window(film: StoredFilm, box: Box, spec: PreprocessingSpec) -> tuple[float, float]:
    """Give what becomes 0 and 1: percentiles of the cropped film without its padding."""
    left, top, width, height = box
    step = max(1, max(width, height) // spec.percentile_grid)
    grid = slice(top, top + height, step), slice(left, left + width, step)
    sample, padding = film.brightness(*grid), film.padding_at(*grid)
    if padding is not None:
        sample = sample[~padding]
    if sample.size:
        black, white = percentiles(sample, spec.percentile_low, spec.percentile_high)
        if white > black:
            return black, white
    # Nearly all of the film has one value: take all of its range.
    pixels = film.brightness()
    low, high = float(pixels.min()), float(pixels.max())
    refuse_constant(low, high)
    return low, high


def _scaled(film: StoredFilm, box: Box, step: int, size: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Scale the box to `size` (width, height): means of whole blocks, then bilinear."""
    part = _means_of_blocks(film, box, step)
    scaled = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(scaled, dtype=np.uint16).reshape(size[1], size[0])


def _means_of_blocks(film: StoredFilm, box: Box, step: int) -> npt.NDArray[np.uint16]:
    """Average blocks of step×step pixels of the box, strip by strip, while a strip is in cache."""
    left, top, width, height = box
    columns = slice(left, left + width)
    if step == 1:
        return film.brightness(slice(top, top + height), columns)
    means = np.empty((height // step, width // step), dtype=np.uint16)
    lines = max(1, _STRIP_PX // (width * step))
    for first in range(0, means.shape[0], lines):
        last = min(first + lines, means.shape[0])
        strip = film.brightness(slice(top + first * step, top + last * step), columns)
        means[first:last] = cv2.resize(
            strip, (means.shape[1], last - first), interpolation=cv2.INTER_AREA
        )
    return means


def _standardised(
    scaled: npt.NDArray[np.uint16], black: float, white: float
) -> npt.NDArray[np.uint8]:
    """Spread black to white over 8 bits, what CLAHE works on."""
    values = np.arange(int(scaled.max()) + 1, dtype=np.uint16)
    grey = (values.astype(np.float32) - black) * (255.0 / (white - black))
    table = np.rint(np.clip(grey, 0.0, 255.0)).astype(np.uint8)
    # OpenCV's multiply-and-add takes a third of the time of looking up. It rounds once less, so
    # it is only used where it gives what the table says for every value that there is.
    if np.array_equal(_multiplied(values, black, white), table):
        return _multiplied(scaled, black, white)
    return taken(table, scaled)


def _multiplied(
    values: npt.NDArray[np.uint16], black: float, white: float
) -> npt.NDArray[np.uint8]:
    gain = 255.0 / (white - black)
    # OpenCV gives the absolute value. (np.maximum with one number takes five times as long.)
    above = np.clip(values, np.uint16(black), np.uint16(65535))
    grey = cv2.convertScaleAbs(above, alpha=gain, beta=-black * gain)
    return np.asarray(grey, dtype=np.uint8).reshape(values.shape)


def _padded(
    grey: npt.NDArray[np.uint8], place: tuple[slice, slice], size_px: int
) -> npt.NDArray[np.uint8]:
    square = np.zeros((size_px, size_px), dtype=np.uint8)
    square[place] = grey
    return square


def _equalised(square: npt.NDArray[np.uint8], spec: PreprocessingSpec) -> npt.NDArray[np.uint8]:
    if spec.clahe_clip_limit == 0:
        return square
    tiles = (spec.clahe_tiles, spec.clahe_tiles)
    return np.asarray(cv2.createCLAHE(spec.clahe_clip_limit, tiles).apply(square), dtype=np.uint8)


def _assembled(square: npt.NDArray[np.uint8], place: tuple[slice, slice]) -> _Float32:
    """Give the network's float32 [1, S, S]; CLAHE may have made something of the padding's 0."""
    image = np.asarray(cv2.LUT(square, _TO_UNIT), dtype=np.float32)
    rows, columns = place
    image[: rows.start] = image[rows.stop :] = 0
    image[:, : columns.start] = image[:, columns.stop :] = 0
    return image[None]
