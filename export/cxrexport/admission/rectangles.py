"""Rectangles of one value over the picture: blacked-out labels, pasted boxes, burnt-in masks."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from cxrexport.preprocessing import DecodedFilm, PreprocessingSpec, film_box
from cxrexport.preprocessing.crop import Box

Film = npt.NDArray[np.uint16] | npt.NDArray[np.uint8]

# Everything below is measured on 1167 real films (docs/adr/0014); lengths are in pixels
# of a film that is thinned to at most _LONGEST_PX.
_LONGEST_PX = 1024
_LEAST_SIDE = 0.035
"""Share of the film's side that both sides of a rectangle have; lead markers are smaller."""
_MOST_SIDE = 0.9
"""A strip along a whole side is a collimator's edge, and the crop's business."""
_TOLERANCES = ((0.008, 1), (0.02, 5), (0.04, 5))
"""(range within 3x3 pixels as a share of the film's, side of the opening): the first finds what was
pasted without loss, the others what JPEG made uneven at its edges."""
_SAME = 0.012
_MOSTLY = 0.9
"""This share of the rectangle lies within _SAME of its median: one value, not a gentle slope."""
_FILLED = 0.9
"""Share of the bounding box within the outline; a rectangle drawn slantwise or a disc has less."""
_COVERED = 0.6
"""Share of the bounding box that is flat; the rest may be writing on it."""
_STEP = 0.04
_EDGE = 0.6
"""An edge is sharp where this share of it is a step of at least _STEP, three pixels further on."""
_EDGE_PX = 3

_SERVED_FLAT = 6.0
"""Grey levels of 255 within 3x3 pixels; CLAHE adds a slope of up to one a pixel."""
_SERVED_EVEN = 4.0
"""Nine tenths of a box lie within this of one smooth surface; anatomy has texture."""
_SERVED_STEP = 20.0
_SERVED_EDGE = 0.8
_SERVED_EDGES = 3
_SERVED_LEAST_SIDE = 0.05


def find_rectangles(film: DecodedFilm) -> tuple[Box, ...]:
    """Find axis-aligned rectangles of one value within the film's borders.

    At least 3.5 % of the film along each side,
    with sharp edges. What the crop takes off is not looked at, and a black box on the black
    background beside the body cannot be told from it.

    Returns:
        Left, top, width and height in film pixels, the largest first.
    """
    height, width = film.pixels.shape
    step = -(-max(height, width) // _LONGEST_PX)
    thin = np.ascontiguousarray(film.pixels[::step, ::step])
    low, high = (float(v) for v in np.percentile(thin[::4, ::4], (0.5, 99.5)))
    if high <= low:
        return ()
    shown = [value / step for value in film_box(film, PreprocessingSpec())]
    found: list[Box] = []
    for tolerance, opening in _TOLERANCES:
        for box in _rectangles(thin, high - low, tolerance, opening):
            inside = _overlap(box, (shown[0], shown[1], shown[2], shown[3]))
            if inside >= box[2] * box[3] / 2 and not any(_overlap(box, other) for other in found):
                found.append(box)
    found.sort(key=lambda box: (-box[2] * box[3], box))
    return tuple(_on_film(box, step, width, height) for box in found)


def _rectangles(film: Film, span: float, tolerance: float, opening: int) -> Iterator[Box]:
    for box, shape in _flat_boxes(film, tolerance * span, opening):
        left, top, width, height = box
        values = film[top : top + height, left : left + width][shape].astype(np.float32)
        value = float(np.median(values))
        even = np.abs(values - value) <= _SAME * span
        if float(even.mean()) >= _MOSTLY and _has_sharp_edges(film, box, value, _STEP * span):
            yield box


def _flat_boxes(
    film: Film, tolerance: float, opening: int
) -> Iterator[tuple[Box, npt.NDArray[np.bool_]]]:
    """Give flat parts that fill their bounding boxes: the box, and the part within it."""
    rows, columns = film.shape
    near = np.ones((3, 3), dtype=np.uint8)
    flat = np.asarray(cv2.dilate(film, near) - cv2.erode(film, near) <= tolerance, np.uint8)
    if opening > 1:
        flat = cv2.morphologyEx(flat, cv2.MORPH_OPEN, np.ones((opening, opening), np.uint8))
    _, parts, sizes, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    widths, heights = sizes[:, cv2.CC_STAT_WIDTH], sizes[:, cv2.CC_STAT_HEIGHT]
    fits = (
        (widths >= _LEAST_SIDE * columns)
        & (widths <= _MOST_SIDE * columns)
        & (heights >= _LEAST_SIDE * rows)
        & (heights <= _MOST_SIDE * rows)
        & (sizes[:, cv2.CC_STAT_AREA] >= _COVERED * widths * heights)
    )
    for part in np.flatnonzero(fits[1:]) + 1:
        left, top, width, height = (int(value) for value in sizes[part, :4])
        box = left, top, width, height
        shape = parts[top : top + height, left : left + width] == part
        if _outlined(shape) >= _FILLED * shape.size:
            yield box, shape


def _outlined(shape: npt.NDArray[np.bool_]) -> int:
    """Count the pixels within the outer outline: writing on a label makes holes, no dents."""
    # numpy's pad takes twenty times as long.
    canvas = cv2.copyMakeBorder(shape.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    outlines, _ = cv2.findContours(canvas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, 1, thickness=cv2.FILLED)
    return cv2.countNonZero(canvas)


def _has_sharp_edges(film: Film, box: Box, value: float, step: float) -> bool:
    """Tell a box that was put on the film from air or bone that happens to be even.

    Its edges within the film, but one, end in a step; what is even by nature fades out. At least
    two edges lie within the film: a corner that is even on both sides of the other two says enough.
    """
    left, top, width, height = box
    right, bottom = left + width - 1 + _EDGE_PX, top + height - 1 + _EDGE_PX
    rows, columns = film.shape
    beyond = []
    if left - _EDGE_PX >= 0:
        beyond.append(film[top : top + height, left - _EDGE_PX])
    if right < columns:
        beyond.append(film[top : top + height, right])
    if top - _EDGE_PX >= 0:
        beyond.append(film[top - _EDGE_PX, left : left + width])
    if bottom < rows:
        beyond.append(film[bottom, left : left + width])
    steps = [np.abs(side.astype(np.float32) - value) >= step for side in beyond]
    sharp = sum(float(side.mean()) >= _EDGE for side in steps)
    return len(beyond) >= 2 and sharp >= max(2, len(beyond) - 1)


def _overlap(one: Box, other: tuple[float, float, float, float]) -> float:
    """Give the area that two boxes share."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, down)


def _on_film(box: Box, step: int, width: int, height: int) -> Box:
    """Carry a box to film pixels; one pixel more on each side, whose surroundings are not flat."""
    left, top = max(0, (box[0] - 1) * step), max(0, (box[1] - 1) * step)
    right = min(width, (box[0] + box[2] + 1) * step)
    bottom = min(height, (box[1] + box[3] + 1) * step)
    return left, top, right - left, bottom - top


def has_rectangle(grey: npt.NDArray[np.uint8]) -> bool:
    """Tell whether a rectangle covers part of the film as the networks see it.

    CLAHE turns one value into a gentle slope, so a box here need not be of one value: it is smooth,
    four-cornered and sharply bounded.

    Args:
        grey: uint8 square, `grey_copy` of the film; 0 where it is padded.
    """
    rows, columns = (np.flatnonzero(grey.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return False
    film = np.ascontiguousarray(grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return any(
        min(box[2] / film.shape[1], box[3] / film.shape[0]) >= _SERVED_LEAST_SIDE
        and _is_smooth(film, box, shape)
        and _stands_out(film, box)
        for box, shape in _flat_boxes(film, _SERVED_FLAT, 3)
    )


def _is_smooth(film: Film, box: Box, shape: npt.NDArray[np.bool_]) -> bool:
    """Compare a box with the quadratic surface that fits it best."""
    left, top, width, height = box
    y, x = (axis[shape] for axis in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    values = film[top : top + height, left : left + width][shape].astype(np.float64)
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=1)
    surface = terms @ np.linalg.lstsq(terms, values, rcond=None)[0]
    return float((np.abs(values - surface) <= _SERVED_EVEN).mean()) >= _MOSTLY


def _stands_out(film: Film, box: Box) -> bool:
    """Tell whether three edges or more, within the film, are steps all along."""
    left, top, width, height = box
    rows, columns = film.shape
    right, bottom = left + width - 1, top + height - 1
    across, down = slice(left, right + 1), slice(top, bottom + 1)
    values = film.astype(np.int16)
    pairs = []
    if left >= _EDGE_PX:
        pairs.append((values[down, left + 1], values[down, left - _EDGE_PX]))
    if right + _EDGE_PX < columns:
        pairs.append((values[down, right - 1], values[down, right + _EDGE_PX]))
    if top >= _EDGE_PX:
        pairs.append((values[top + 1, across], values[top - _EDGE_PX, across]))
    if bottom + _EDGE_PX < rows:
        pairs.append((values[bottom - 1, across], values[bottom + _EDGE_PX, across]))
    steps = [np.abs(inside - outside) >= _SERVED_STEP for inside, outside in pairs]
    return sum(float(step.mean()) >= _SERVED_EDGE for step in steps) >= _SERVED_EDGES
