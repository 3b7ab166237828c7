"""The lungs of a lung map: which of two a pixel is nearest to; outlines of fewer points."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def nearest_part(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    """Tell two parts that lie side by side apart.

    Args:
        mask: [rows, columns].

    Returns:
        bool [rows, columns]: true where the left part of the picture is nearer than the right one;
        None where there are not just two parts, or one does not lie beside the other.
    """
    count, labels, _, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count != 3:
        return None
    left, right = sorted((1, 2), key=lambda part: centres[part][0])
    # Beside each other: neither reaches the other's middle.
    middles = [round(float(centres[part][0])) for part in (left, right)]
    if (labels[:, : middles[0]] == right).any() or (labels[:, middles[1] :] == left).any():
        return None
    from_left, from_right = (
        cv2.distanceTransform((labels != part).astype(np.uint8), cv2.DIST_L2, 3)
        for part in (left, right)
    )
    return np.asarray(from_left < from_right)


def thinned(outline: npt.NDArray[np.float64], within: float) -> npt.NDArray[np.float64]:
    """Leave out points of a closed outline.

    Args:
        outline: [points, 2] as (x, y); the last point leads to the first.
        within: how far the new outline may be from the old one, in the outline's units.

    Returns:
        At least three of its points.

    Source: Douglas and Peucker 1973.
    """
    kept = cv2.approxPolyDP(outline.astype(np.float32)[:, None], within, closed=True)[:, 0]
    return kept.astype(np.float64) if len(kept) > 2 else outline
