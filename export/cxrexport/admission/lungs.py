"""The two lungs of a lung map: its two largest parts. What else there is, is no lung."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from cxrclient.films import LUNG_PROBABILITY

Map = npt.NDArray[np.float32]


def two_largest_kept(lungs: Map) -> Map:
    """Give a lung map with 0 in all but the two largest parts of its mask.

    It is for those who read the map as lungs: masks, contours, areas. The networks and the gate's
    features have the map as it is (docs/adr/0023). A part is pixels that touch, be it at a corner,
    and the holes between them.

    Args:
        lungs: float32 [S, S], lung probability.

    Returns:
        float32 [S, S]; `lungs` itself where there is nothing to take away. What lies below
        `LUNG_PROBABILITY` and in no such part stays as it is.
    """
    # Outlines: at 1024 px 0.3 ms, and labels of all pixels ten times as much.
    mask = (lungs >= LUNG_PROBABILITY).view(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if len(outlines) <= 2:
        return lungs
    others = sorted(outlines, key=_pixels)[:-2]
    return np.asarray(cv2.drawContours(lungs.copy(), others, -1, 0, cv2.FILLED), dtype=np.float32)


def _pixels(outline: npt.NDArray[np.int32]) -> float:
    """Count the pixels within an outline, itself included (Pick's theorem)."""
    return float(cv2.contourArea(outline)) + len(outline) / 2 + 1
