"""Writing in the picture: names, dates, "PORTABLE", arrows' captions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

# All lengths are shares of the square's side. A lead marker's single letter is no writing.
_KERNEL = 0.05
_STEP = 0.3
"""How much a letter differs from what is around it, on the film's 0..1."""
_HEIGHT = (0.014, 0.07)
_WIDTH = (0.003, 0.08)
_ALIKE = 0.35
"""Letters of a line differ in height and in place by less than this share of their height."""
_GAP = 1.3
"""The largest space between two letters, by their height."""
_OVERLAP = 0.3
_LETTERS = 4
_MOST_PARTS = 200
"""More letter-like parts than this are the grain of a picture; the first of them are looked at."""


def find_writing(grey: npt.NDArray[np.uint8]) -> bool:
    """Tell whether four or more letters stand in a line, brighter or darker than the film there.

    Args:
        grey: uint8 square, `grey_copy` of the film.
    """
    side = grey.shape[0]
    kernel = np.ones((round(_KERNEL * side),) * 2, dtype=np.uint8)
    return any(
        _has_line(cv2.morphologyEx(grey, way, kernel), side)
        for way in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)
    )


def _has_line(strokes: npt.NDArray[np.uint8], side: int) -> bool:
    _, inked = cv2.threshold(strokes, 255 * _STEP, 1, cv2.THRESH_BINARY)
    outlines, _ = cv2.findContours(inked, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    letters = [
        box
        for box in map(cv2.boundingRect, outlines)
        if _HEIGHT[0] * side <= box[3] <= _HEIGHT[1] * side
        and _WIDTH[0] * side <= box[2] <= _WIDTH[1] * side
    ]
    boxes = sorted(letters[:_MOST_PARTS])
    return any(_line_from(first, boxes) >= _LETTERS for first in range(len(boxes)))


def _line_from(first: int, boxes: Sequence[Sequence[int]]) -> int:
    """Count the letters of the line that starts with this one."""
    left, top, width, height = boxes[first]
    end, count = left + width, 1
    for other_left, other_top, other_width, other_height in boxes[first + 1 :]:
        gap = other_left - end
        if gap > _GAP * height:
            break
        if (
            abs(other_height - height) <= _ALIKE * height
            and abs(other_top + other_height - top - height) <= _ALIKE * height
            and gap > -_OVERLAP * height
        ):
            end, count = other_left + other_width, count + 1
    return count
