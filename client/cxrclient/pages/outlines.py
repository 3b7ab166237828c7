"""Where a map crosses a level, as polygons (marching squares), finer than the map's own pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from cxrclient.films import FloatArray

Polygon = npt.NDArray[np.float64]

# Corners of a cell that are inside, as bits (upper left 8, upper right 4, lower right 2, lower left
# 1) → the sides of the cell from which and to which an edge leads, what is inside on its right.
# Corners that face each other are one part, as they are to the server's count of parts.
_SIDES = {
    0b1000: ("TL",), 0b0100: ("RT",), 0b0010: ("BR",), 0b0001: ("LB",),
    0b0111: ("LT",), 0b1011: ("TR",), 0b1101: ("RB",), 0b1110: ("BL",),
    0b1100: ("RL",), 0b0110: ("BT",), 0b0011: ("LR",), 0b1001: ("TB",),
    0b1010: ("TR", "BL"), 0b0101: ("LT", "RB"),
}  # fmt: skip
_RIM = 2  # pixels around the map: one like its border, one outside


def outlines(values: FloatArray, level: float) -> list[Polygon]:
    """Outline what is at least `level`.

    Between pixel centres the map is taken as linear, and beyond its outermost ones as constant to
    the map's edge, half a pixel on.

    Args:
        values: [rows, columns].
        level: what is as high counts as inside.

    Returns:
        Closed polygons, float64 [points, 2] as (x, y), whole numbers at pixel centres; the last
        point leads to the first. The largest comes first. Around what is inside the points go
        clockwise as seen on a screen, around a hole the other way.
    """
    rows, columns = values.shape
    rimmed = np.pad(values.astype(np.float64), 1, mode="edge")
    rimmed = np.pad(rimmed, 1, constant_values=level - 1)
    rings = []
    for ring in _rings(_edges(rimmed >= level)):
        points = _points(rimmed, np.array(ring), level) - _RIM
        points = np.clip(points, -0.5, (columns - 0.5, rows - 0.5))
        points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
        if len(points) > 2:
            rings.append(points)
    return sorted(rings, key=lambda points: -abs(polygon_area(points)))


def polygon_area(polygon: Polygon) -> float:
    """The area within a polygon in square pixels; of a hole of `outlines` it is negative."""
    x, y = polygon.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _edges(inside: npt.NDArray[np.bool_]) -> dict[int, int]:
    """Each crossing's number → the next one's.

    Crossings are numbered by the pixel that is left of or above them: those between two pixels of a
    row first, then those between two of a column.
    """
    corners = (inside[:-1, :-1], inside[:-1, 1:], inside[1:, 1:], inside[1:, :-1])
    kinds = sum(corner.astype(np.uint8) << (3 - n) for n, corner in enumerate(corners))
    columns = inside.shape[1]
    side = {"T": 0, "B": columns, "L": inside.size, "R": inside.size + 1}
    following: dict[int, int] = {}
    for kind, ways in _SIDES.items():
        row, column = np.nonzero(kinds == kind)
        cells = row * columns + column
        for way in ways:
            first, last = (cells + side[end] for end in way)
            following.update(zip(first.tolist(), last.tolist(), strict=True))
    return following


def _rings(following: dict[int, int]) -> Iterator[list[int]]:
    while following:
        first, at = following.popitem()
        ring = [first]
        while at != first:
            ring.append(at)
            at = following.pop(at)
        yield ring


def _points(
    values: npt.NDArray[np.float64], crossings: npt.NDArray[np.intp], level: float
) -> Polygon:
    """Where the map has the level, between the two pixels of each crossing: [points, 2], (x, y)."""
    down, pixel = np.divmod(crossings, values.size)
    row, column = np.divmod(pixel, values.shape[1])
    one, other = values[row, column], values[row + down, column + 1 - down]
    share = (level - one) / (other - one)
    return np.stack((column + share * (1 - down), row + share * down), axis=1)
