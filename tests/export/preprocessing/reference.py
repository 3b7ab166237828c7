"""The pixel path of docs/adr/0001 once more: plain, slow, one step after the other.

Written from the decision record, DICOM PS3.3 and the definition of CLAHE; it uses nothing of
cxrexport and nothing of OpenCV. Every pixel goes through every formula by itself, in float64. The
film is whole numbers of 16 bits from step to step, and of 8 bits from its standardisation on.
pydicom decodes the stored values.

`conftest.py` hands this module to the tests as the fixture `reference`.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from pydicom import dcmread
from scipy import ndimage

Box = tuple[int, int, int, int]


def image_of(encoded: bytes, spec: Any) -> np.ndarray:
    """The network's image of a DICOM object: float64 [S, S] in 0..1.

    Args:
        encoded: the file.
        spec: anything with the attributes of a PreprocessingSpec.
    """
    return image_of_film(*film_of(encoded), spec)


def image_of_film(film: np.ndarray, padding: np.ndarray, spec: Any) -> np.ndarray:
    """The network's image of a film.

    Args:
        film: brightness [rows, columns].
        padding: bool [rows, columns].
        spec: as for `image_of`.
    """
    left, top, width, height = box_of(film, spec)
    step = min(max(1, max(width, height) // spec.size_px), width, height)
    width, height = width - width % step, height - height % step
    part = np.s_[top : top + height, left : left + width]
    black, white = window_of(film, film[part], padding[part], spec)

    means = film[part].reshape(height // step, step, width // step, step).mean(axis=(1, 3))
    means = np.floor(means + 0.5) if step == 2 else np.rint(means)  # (a + b + c + d + 2) >> 2
    longer = max(width, height)
    columns, rows = (max(1, round(side * spec.size_px / longer)) for side in (width, height))
    across = interpolation(means.shape[1], columns).T
    scaled = np.rint(interpolation(means.shape[0], rows) @ means @ across)
    grey = np.rint(np.clip((scaled - black) / (white - black), 0, 1) * 255)

    down, right = (spec.size_px - rows) // 2, (spec.size_px - columns) // 2
    place = np.s_[down : down + rows, right : right + columns]
    square = np.zeros((spec.size_px, spec.size_px), dtype=np.int64)
    square[place] = grey
    if spec.clahe_clip_limit:
        square = clahe(square, spec.clahe_clip_limit, spec.clahe_tiles)
    image = np.zeros(square.shape)
    image[place] = square[place] / 255
    return image


# What a reader sees of the stored values.


def film_of(encoded: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Brightness int64 [rows, columns], dense bright, and which pixels are padding."""
    dataset = dcmread(io.BytesIO(encoded))
    stored = dataset.pixel_array.astype(np.int64)
    ends = [dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")]
    ends = [end for end in ends if end is not None]
    padding = (
        (stored >= min(ends)) & (stored <= max(ends)) if ends else np.zeros(stored.shape, bool)
    )
    low, high = int(stored[~padding].min()), int(stored[~padding].max())
    film = through_voi(dataset, stored, low, high)
    if film is None:
        film = without_voi(dataset, stored, low, high)
    inverse = dataset.get("PresentationLUTShape") == "INVERSE"
    if inverse or dataset.PhotometricInterpretation == "MONOCHROME1":
        film = film.max() - film
    film[padding] = 0
    return film, padding


def rescale(dataset: Any) -> tuple[float, float]:
    return float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)


def modality(dataset: Any, stored: np.ndarray) -> np.ndarray:
    """PS3.3 C.11.1."""
    if "ModalityLUTSequence" in dataset:
        return looked_up(dataset.ModalityLUTSequence[0], stored)
    slope, intercept = rescale(dataset)
    return stored * slope + intercept


def looked_up(item: Any, values: np.ndarray) -> np.ndarray:
    entries, first, _ = (int(number) for number in item.LUTDescriptor)
    data = np.frombuffer(item.LUTData, "<u2")
    return data[np.clip(values - first, 0, (entries or 65536) - 1)].astype(float)


def through_voi(dataset: Any, stored: np.ndarray, low: int, high: int) -> np.ndarray | None:
    """PS3.3 C.11.2: the first VOI LUT or else the first window, None where it shows nothing."""
    seen = modality(dataset, stored)
    if "VOILUTSequence" in dataset:
        return stretched(looked_up(dataset.VOILUTSequence[0], np.rint(seen).astype(int)), stored,
                         low, high)  # fmt: skip
    if "WindowCenter" not in dataset:
        return None
    center, width = (float(np.atleast_1d(dataset[name].value)[0]) for name in
                     ("WindowCenter", "WindowWidth"))  # fmt: skip
    function = dataset.get("VOILUTFunction", "LINEAR")
    if function == "SIGMOID":
        return stretched(1 / (1 + np.exp(-4 * (seen - center) / width)), stored, low, high)
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    bottom, top = center - width / 2, center + width / 2
    if "ModalityLUTSequence" in dataset:
        return stretched(np.clip(seen, bottom, top), stored, low, high)
    # A window ends at the whole stored values next outside it, and at those of the film.
    slope, intercept = rescale(dataset)
    ends = sorted(((bottom - intercept) / slope, (top - intercept) / slope))
    first, last = max(math.floor(ends[0] + 1e-6), low), min(math.ceil(ends[1] - 1e-6), high)
    return ramp(stored, first, last, slope > 0) if first < last else None


def without_voi(dataset: Any, stored: np.ndarray, low: int, high: int) -> np.ndarray:
    if "ModalityLUTSequence" in dataset:
        film = stretched(modality(dataset, stored), stored, low, high)
        if film is not None:
            return film
    return ramp(stored, low, high, rescale(dataset)[0] > 0)


def ramp(stored: np.ndarray, first: int, last: int, rising: bool) -> np.ndarray:
    """Whole steps over 16 bits from `first` to `last`, the other way round where it falls."""
    clipped = np.clip(stored, first, last)
    return (clipped - first if rising else last - clipped) * (65535 // (last - first))


def stretched(seen: np.ndarray, stored: np.ndarray, low: int, high: int) -> np.ndarray | None:
    """Over 16 bits, from what the darkest to what the brightest value between the film's is."""
    # Of all values between, also of those that no pixel has: a curve need not rise throughout.
    film = seen[(stored >= low) & (stored <= high)]
    if film.max() <= film.min():
        return None
    share = (np.clip(seen, film.min(), film.max()) - film.min()) / (film.max() - film.min())
    return np.rint(share * 65535).astype(np.int64)


def window_of(
    film: np.ndarray, part: np.ndarray, padding: np.ndarray, spec: Any
) -> tuple[float, float]:
    """What becomes 0 and 1: percentiles on a grid."""
    step = max(1, max(part.shape) // spec.percentile_grid)
    sample = part[::step, ::step][~padding[::step, ::step]]
    if sample.size:
        black, white = np.percentile(sample, (spec.percentile_low, spec.percentile_high))
        if white > black:
            return float(black), float(white)
    return float(film.min()), float(film.max())


# Where the film lies within its borders.


def box_of(film: np.ndarray, spec: Any) -> Box:
    """Left, top, width, height of the film within black and blank borders."""
    whole = (0, 0, film.shape[1], film.shape[0])
    small = thumbnail_of(film, spec.crop_thumbnail_px)
    rows, columns = small.shape
    dark, bright = np.percentile(small, (0.5, 99.5))
    if bright <= dark:
        return whole
    level = (small - dark) / (bright - dark)
    blank = (level <= spec.crop_black) | (level >= spec.crop_white)
    top, bottom = inner([row.mean() >= 0.97 for row in blank])
    left, right = inner([column.mean() >= 0.97 for column in blank[top:bottom].T])
    shown = np.zeros(small.shape, bool)
    shown[top:bottom, left:right] = (level > spec.crop_black)[top:bottom, left:right]
    left, top, right, bottom = large_parts_of(shown, spec)
    # A margin that shows more than letters stays.
    margins = {
        "left": shown[top:bottom, :left], "top": shown[:top, left:right],
        "right": shown[top:bottom, right:], "bottom": shown[bottom:, left:right],
    }  # fmt: skip
    stays = {side for side, margin in margins.items() if margin.size and margin.mean() > 0.25}
    left, top = 0 if "left" in stays else left, 0 if "top" in stays else top
    right = columns if "right" in stays else right
    bottom = rows if "bottom" in stays else bottom
    if right - left < spec.crop_min_side * columns or bottom - top < spec.crop_min_side * rows:
        return whole
    x0, x1 = on_film(left, right, columns, film.shape[1])
    y0, y1 = on_film(top, bottom, rows, film.shape[0])
    return x0, y0, x1 - x0, y1 - y0


def thumbnail_of(film: np.ndarray, side_px: int) -> np.ndarray:
    """Every n-th pixel, then the mean of the area that each pixel of the thumbnail covers."""
    step = max(1, max(film.shape) // (2 * side_px))
    sample = film[::step, ::step]
    scale = min(1.0, side_px / max(sample.shape))
    rows, columns = (max(1, round(side * scale)) for side in sample.shape)
    return np.rint(coverage(sample.shape[0], rows) @ sample @ coverage(sample.shape[1], columns).T)


def inner(blank: list[bool]) -> tuple[int, int]:
    content = [place for place, is_blank in enumerate(blank) if not is_blank]
    return (content[0], content[-1] + 1) if content else (0, len(blank))


def large_parts_of(shown: np.ndarray, spec: Any) -> Box:
    """Left, top, right, bottom of the large parts that an opening leaves."""
    rows, columns = shown.shape
    side = round(spec.crop_opening * max(rows, columns))
    opened = opening(shown, side) if side > 1 else shown
    labels, _ = ndimage.label(opened, structure=np.ones((3, 3)))
    large = [
        part
        for number, part in enumerate(ndimage.find_objects(labels), start=1)
        if (labels == number).sum() >= spec.crop_min_area * shown.size
    ]
    if not large:
        return 0, 0, columns, rows
    return (
        min(part[1].start for part in large), min(part[0].start for part in large),
        max(part[1].stop for part in large), max(part[0].stop for part in large),
    )  # fmt: skip


def opening(shown: np.ndarray, side: int) -> np.ndarray:
    """Minimum, then maximum over a square whose anchor is at side // 2; nothing beyond the edge."""
    before, after = side // 2, side - 1 - side // 2

    def over(picture: np.ndarray, beyond: bool, choose: Any) -> np.ndarray:
        for axis in (0, 1):  # a square is a column of rows
            margin = [(before, after) if each == axis else (0, 0) for each in (0, 1)]
            padded = np.pad(picture, margin, constant_values=beyond)
            views = np.lib.stride_tricks.sliding_window_view(padded, side, axis=axis)
            picture = choose(views, axis=2)
        return picture

    return over(over(shown, True, np.min), False, np.max)


def on_film(first: int, last: int, samples: int, length: int) -> tuple[int, int]:
    """From samples of the thumbnail to film pixels, with a sample to spare where it is cut."""
    start = 0 if first <= 1 else int((first - 1) * length / samples)
    end = length if last >= samples - 1 else math.ceil((last + 1) * length / samples)
    return start, end


# Resampling, as matrices of [output, input].


def coverage(inputs: int, outputs: int) -> np.ndarray:
    """Share of each input pixel in each output pixel that is the mean of the area it covers."""
    edges = np.arange(outputs + 1) * inputs / outputs
    begin = np.maximum(edges[:-1, None], np.arange(inputs))
    end = np.minimum(edges[1:, None], np.arange(inputs) + 1)
    return np.maximum(end - begin, 0) * outputs / inputs


def interpolation(inputs: int, outputs: int) -> np.ndarray:
    """Weights of bilinear interpolation along one axis; edge pixels are held beyond the edge."""
    place = np.clip((np.arange(outputs) + 0.5) * inputs / outputs - 0.5, 0, inputs - 1)
    first = np.floor(place).astype(int)
    weights = np.zeros((outputs, inputs))
    weights[np.arange(outputs), first] = 1 - (place - first)
    weights[np.arange(outputs), np.minimum(first + 1, inputs - 1)] += place - first
    return weights


# CLAHE on 8 bits, as OpenCV defines its parameters.


def clahe(square: np.ndarray, clip_limit: float, tiles: int) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation of a square of 0..255.

    Source: K. Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV
    (1994); OpenCV's rules for the clip limit, for what is left over when the clipped counts are
    spread, and for a square that does not fall into whole tiles (it is mirrored beyond its edge).
    """
    size = square.shape[0]
    beyond = -size % tiles
    whole = np.pad(square, (0, beyond), mode="reflect")
    side = whole.shape[0] // tiles
    tables = np.empty((tiles, tiles, 256))
    for row in range(tiles):
        for column in range(tiles):
            tile = whole[row * side : (row + 1) * side, column * side : (column + 1) * side]
            tables[row, column] = tile_table(tile, clip_limit)
    near, far, weight = between_tiles(size, side, tiles)
    result = np.zeros(square.shape)
    for rows, down in ((near, 1 - weight), (far, weight)):
        for columns, right in ((near, 1 - weight), (far, weight)):
            seen = tables[rows[:, None], columns[None, :], square]
            result += seen * down[:, None] * right[None, :]
    return np.rint(result).astype(np.int64)


def tile_table(tile: np.ndarray, clip_limit: float) -> np.ndarray:
    """What each grey value becomes by the clipped histogram of one tile."""
    counts = np.bincount(tile.ravel(), minlength=256)
    limit = max(1, int(clip_limit * tile.size / 256))
    surplus = int(np.maximum(counts - limit, 0).sum())
    counts = np.minimum(counts, limit) + surplus // 256
    left_over = surplus % 256
    if left_over:
        counts[:: max(256 // left_over, 1)][:left_over] += 1
    return np.rint(np.cumsum(counts) * 255 / tile.size)


def between_tiles(size: int, side: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each line the tile centres before and behind it, and how far it is on the way."""
    place = np.arange(size) / side - 0.5
    before = np.floor(place).astype(int)
    near, far = np.maximum(before, 0), np.minimum(before + 1, tiles - 1)
    return near, far, place - before
