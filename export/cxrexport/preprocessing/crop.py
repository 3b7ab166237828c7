"""Where the film proper lies within its borders."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cxrclient.pixels import DecodedFilm, StoredFilm
from cxrexport.preprocessing.percentiles import percentiles
from cxrexport.preprocessing.spec import PreprocessingSpec

Box = tuple[int, int, int, int]
"""Left, top, width and height in film pixels."""

# Share of a row that must be blank for the row to be a blank margin; the rest may be text.
_BLANK_ROW = 0.97
# A margin with a larger share of pixels above black than this shows more than text.
_TEXT_IN_MARGIN = 0.25


def film_box(film: DecodedFilm | StoredFilm, spec: PreprocessingSpec) -> Box:
    """Find the film within black borders, blank white borders and margins with text only.

    Borders are looked for in a small copy. What is brighter than black is opened with a square,
    so that letters and markers vanish, and the box spans the large parts that are left. A box that
    leaves too little is not trusted, and the whole film is kept: a lung must never be cut off.
    """
    stored = film if isinstance(film, StoredFilm) else StoredFilm.of(film)
    height, width = stored.shape
    small = _thumbnail(stored, spec.crop_thumbnail_px)
    rows, columns = small.shape
    dark, bright = percentiles(small, 0.5, 99.5)
    if bright <= dark:
        return 0, 0, width, height
    level = (small.astype(np.float32) - np.float32(dark)) / np.float32(bright - dark)
    left, top, right, bottom = _without_blank_margins(level, spec)
    shown = np.zeros(small.shape, dtype=np.uint8)
    shown[top:bottom, left:right] = level[top:bottom, left:right] > spec.crop_black
    left, top, right, bottom = _blank_sides_only(shown, _span_of_large_parts(shown, spec))
    if right - left < spec.crop_min_side * columns or bottom - top < spec.crop_min_side * rows:
        return 0, 0, width, height
    x0, x1 = _to_film(left, right, columns, width)
    y0, y1 = _to_film(top, bottom, rows, height)
    return x0, y0, x1 - x0, y1 - y0


def _thumbnail(film: StoredFilm, side_px: int) -> npt.NDArray[np.uint16]:
    """Reduce to `side_px` along the longer side: every n-th pixel first, then a mean."""
    step = max(1, max(film.shape) // (2 * side_px))
    sample = np.ascontiguousarray(film.brightness(slice(None, None, step), slice(None, None, step)))
    scale = min(1.0, side_px / max(sample.shape))
    size = max(1, round(sample.shape[1] * scale)), max(1, round(sample.shape[0] * scale))
    small = cv2.resize(sample, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint16).reshape(size[1], size[0])


def _without_blank_margins(level: npt.NDArray[Any], spec: PreprocessingSpec) -> Box:
    """Give left, top, right, bottom without the edge rows and columns that are all blank."""
    blank = (level <= spec.crop_black) | (level >= spec.crop_white)
    top, bottom = _inner(_share(blank, 1) >= _BLANK_ROW)
    left, right = _inner(_share(blank[top:bottom], 0) >= _BLANK_ROW)
    return left, top, right, bottom


def _share(blank: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.float64]:
    """Give the mean along an axis; numpy's own of booleans takes ten times as long."""
    counts = cv2.reduce(blank.view(np.uint8), axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    return np.asarray(counts.ravel() / blank.shape[axis], dtype=np.float64)


def _inner(blank: npt.NDArray[np.bool_]) -> tuple[int, int]:
    content = np.flatnonzero(~blank)
    return (int(content[0]), int(content[-1]) + 1) if content.size else (0, blank.size)


def _span_of_large_parts(shown: npt.NDArray[np.uint8], spec: PreprocessingSpec) -> Box:
    """Give left, top, right, bottom of the parts that outlast the opening; all of it if none do."""
    rows, columns = shown.shape
    side = round(spec.crop_opening * max(rows, columns))
    if side > 1:
        kernel = np.ones((side, side), dtype=np.uint8)
        shown = np.asarray(cv2.morphologyEx(shown, cv2.MORPH_OPEN, kernel), dtype=np.uint8)
    parts = _parts(shown)
    large = parts[parts[:, cv2.CC_STAT_AREA] >= spec.crop_min_area * shown.size]
    if large.size == 0:
        return 0, 0, columns, rows
    left, top = large[:, cv2.CC_STAT_LEFT], large[:, cv2.CC_STAT_TOP]
    right, bottom = left + large[:, cv2.CC_STAT_WIDTH], top + large[:, cv2.CC_STAT_HEIGHT]
    return int(left.min()), int(top.min()), int(right.max()), int(bottom.max())


def _parts(shown: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Give left, top, width, height and area of each connected part.

    Most films are one part, which its outline says in a tenth of the time.
    """
    outlines, levels = cv2.findContours(shown, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [o for o, at in zip(outlines, levels[0], strict=True) if at[3] < 0] if outlines else []
    if len(outer) == 1:
        box = cv2.boundingRect(outer[0])
        return np.array([[*box, cv2.countNonZero(shown)]], dtype=np.int32)
    _, _, parts, _ = cv2.connectedComponentsWithStats(shown, connectivity=8)
    return np.asarray(parts[1:], dtype=np.int32)


def _blank_sides_only(shown: npt.NDArray[np.uint8], span: Box) -> Box:
    """Take back the crop on a side where what it would cut off is not blank.

    On a film without any black, the darkest tissue is within the threshold of "black" and a noisy
    patch of it does not outlast the opening.
    """
    left, top, right, bottom = span
    rows, columns = shown.shape
    margins = (
        shown[top:bottom, :left],
        shown[:top, left:right],
        shown[top:bottom, right:],
        shown[bottom:, left:right],
    )
    blank = [margin.size == 0 or float(margin.mean()) <= _TEXT_IN_MARGIN for margin in margins]
    return (
        left if blank[0] else 0,
        top if blank[1] else 0,
        right if blank[2] else columns,
        bottom if blank[3] else rows,
    )


def _to_film(first: int, last: int, samples: int, length: int) -> tuple[int, int]:
    """Carry a span of the thumbnail to film pixels; one sample of margin on a cropped side."""
    start = 0 if first <= 1 else int((first - 1) * length / samples)
    end = length if last >= samples - 1 else int(np.ceil((last + 1) * length / samples))
    return start, end
