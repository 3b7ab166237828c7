"""What can be measured on a film and its lung map: few numbers, each with a meaning.

Both maps are averaged to 64 x 64 first: admission is about the shape of a chest, not its detail,
and the numbers do not depend on the size of the networks' square.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]

GRID = 64
_GREY_PX = 320
_LUNG = 0.5
_MAYBE = 0.05
_LEAST_PX = 6

NAMES = (
    "lungs",
    "unsure",
    "in_two",
    "balance",
    "level",
    "apart",
    "left_of_middle",
    "height",
    "tall",
    "solid",
    "mirrored",
    "narrow_top",
    "top_room",
    "bottom_room",
    "cut_off",
    "lung_brightness",
    "between_brighter",
    "beside_brighter",
    "below_brighter",
    "above_brighter",
    "lung_spread",
    "contrast",
    "dark",
    "film_mirrored",
)
"""The features, in order; `measure` says what each one is."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One film and its lung map, 64 x 64.

    Attributes:
        film: float32 [64, 64], 0..1, dense bright.
        lungs: float32 [64, 64], probability.
        shown: bool [64, 64], false where the square is padding.
    """

    film: Map
    lungs: Map
    shown: npt.NDArray[np.bool_]


def reduced(cxr: Map, lungs: Map) -> Picture:
    """Average both maps to 64 x 64.

    Args:
        cxr: float32 [S, S] in 0..1 as the networks see it; 0 where it is padded.
        lungs: float32 [S, S], lung probability.

    Raises:
        ValueError: they are not two squares of one size.
    """
    if cxr.ndim != 2 or cxr.shape != lungs.shape or cxr.shape[0] != cxr.shape[1]:
        raise ValueError(f"film {cxr.shape} and lung map {lungs.shape} are not two equal squares")
    film, map_ = _averaged(cxr), _averaged(lungs)
    shown = np.zeros(film.shape, dtype=bool)
    rows, columns = (np.flatnonzero(film.any(axis=axis)) for axis in (1, 0))
    if rows.size and columns.size:
        shown[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return Picture(film, map_, shown)


def _averaged(map_: Map) -> Map:
    # Halved first, a large map takes OpenCV half the time.
    for side in (map_.shape[0] // 2, GRID) if map_.shape[0] % (2 * GRID) == 0 else (GRID,):
        map_ = np.asarray(cv2.resize(map_, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    return map_


def grey_copy(cxr: Map) -> npt.NDArray[np.uint8]:
    """Give the film in 8 bits, thinned by a whole factor to 320 to 639 pixels: rectangles, writing.

    Args:
        cxr: float32 [S, S] in 0..1, as the networks see it.
    """
    grey = np.asarray(cv2.convertScaleAbs(cxr, alpha=255), dtype=np.uint8)
    step = max(1, cxr.shape[0] // _GREY_PX)
    if step == 1:
        return grey
    side = cxr.shape[0] // step
    # Whole blocks only: OpenCV is several times as fast then.
    whole = grey[: side * step, : side * step]
    return np.asarray(cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def measure(picture: Picture) -> npt.NDArray[np.float64]:
    """Measure NAMES on one film; 0 where there is nothing to measure it on.

    lungs             share of the film that is lung
    unsure            how undecided the lung map is where it says lung at all, 0..1
    in_two            share of the lungs in the two largest parts
    balance           area of the smaller of the two by that of the larger
    level             how far their centres differ in height, by the film's height
    apart             how far they are apart in width, by the film's width
    left_of_middle    how far the middle between them is from the film's, by its width
    height            of the lungs, by the film's
    tall              height by width, the mean of both parts
    solid             area by that of the convex hull, the mean of both
    mirrored          overlap of the lungs with their mirror image, by their union
    narrow_top        width of the lungs' upper third by that of their lower third
    top_room          rows above the lungs, by the film's
    bottom_room       rows below them
    cut_off           share of a side of the film that is lung, of the side where it is largest
    lung_brightness   mean within the lungs
    between_brighter  how much brighter the part between the lungs is
    beside_brighter   the same of what lies beside them, at their height
    below_brighter    the same of what lies below
    above_brighter    the same of what lies above
    lung_spread       standard deviation within the lungs
    contrast          standard deviation of the film
    dark              share of the film below 0.1
    film_mirrored     correlation of the film with its mirror image
    """
    found = dict.fromkeys(NAMES, 0.0)
    rows, columns = (np.flatnonzero(picture.shown.any(axis=axis)) for axis in (1, 0))
    if rows.size < _LEAST_PX or columns.size < _LEAST_PX:
        return np.array(list(found.values()))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    film, lungs = picture.film[part], picture.lungs[part]
    lung = lungs > _LUNG
    maybe = lungs > _MAYBE
    found["lungs"] = float(lung.mean())
    found["unsure"] = float((4 * lungs * (1 - lungs))[maybe].mean()) if maybe.any() else 1.0
    found["contrast"] = float(film.std())
    found["dark"] = float((film < 0.1).mean())
    found["film_mirrored"] = _correlation(film, film[:, ::-1])
    if lung.sum() >= _LEAST_PX:
        found.update(_of_shape(lung))
        found.update(_of_brightness(film, lung))
    return np.array([found[name] for name in NAMES])


def _of_shape(lung: npt.NDArray[np.bool_]) -> dict[str, float]:
    height, width = lung.shape
    parts, boxes, sizes, centres = _two_parts(lung)
    top, bottom = _ends(lung.any(axis=1))
    left, right = _ends(lung.any(axis=0))
    third = max(1, (bottom - top) // 3)
    below = float(lung[bottom - third : bottom].sum())
    folded = lung[:, left:right]
    union = (folded | folded[:, ::-1]).sum()
    two = len(sizes) == 2
    middle = float(centres[:, 0].mean()) if two else float(np.flatnonzero(lung.any(axis=0)).mean())
    return {
        "in_two": float(sizes.sum() / lung.sum()),
        "balance": float(sizes.min() / sizes.max()) if two else 0.0,
        "level": float(abs(centres[0, 1] - centres[1, 1]) / height) if two else 1.0,
        "apart": float(abs(centres[0, 0] - centres[1, 0]) / width) if two else 0.0,
        "left_of_middle": abs((middle + 0.5) / width - 0.5),
        "height": (bottom - top) / height,
        "tall": float(np.mean([box[1] / box[0] for box in boxes])),
        "solid": float(np.mean([_solidity(each) for each in parts])),
        "mirrored": float((folded & folded[:, ::-1]).sum() / union),
        "narrow_top": min(4.0, float(lung[top : top + third].sum()) / max(below, 1.0)),
        "top_room": top / height,
        "bottom_room": 1 - bottom / height,
        "cut_off": max(float(side.mean()) for side in (lung[0], lung[-1], lung[:, 0], lung[:, -1])),
    }


def _two_parts(
    lung: npt.NDArray[np.bool_],
) -> tuple[
    list[npt.NDArray[np.uint8]],
    list[tuple[int, int]],
    npt.NDArray[np.float64],
    npt.NDArray[np.float64],
]:
    """Give the two largest parts (or the one), their widths and heights, areas and centres."""
    _, labels, stats, centres = cv2.connectedComponentsWithStats(lung.astype(np.uint8))
    order = np.argsort(stats[1:, cv2.CC_STAT_AREA])[::-1][:2] + 1
    masks = [(labels == part).astype(np.uint8) for part in order]
    boxes = [(int(stats[p, cv2.CC_STAT_WIDTH]), int(stats[p, cv2.CC_STAT_HEIGHT])) for p in order]
    return masks, boxes, stats[order, cv2.CC_STAT_AREA].astype(np.float64), centres[order]


def _solidity(mask: npt.NDArray[np.uint8]) -> float:
    hull = cv2.convexHull(cv2.findNonZero(mask))
    # A pixel is a square: the hull of the pixels' centres alone would be too small.
    area = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
    return min(1.0, cv2.countNonZero(mask) / area)


def _of_brightness(film: Map, lung: npt.NDArray[np.bool_]) -> dict[str, float]:
    top, bottom = _ends(lung.any(axis=1))
    inside = float(film[lung].mean())
    columns = np.arange(lung.shape[1])
    has = lung.any(axis=1)
    first = np.where(has, lung.argmax(axis=1), lung.shape[1])
    last = np.where(has, lung.shape[1] - 1 - lung[:, ::-1].argmax(axis=1), -1)
    within = (columns >= first[:, None]) & (columns <= last[:, None])
    beside = has[:, None] & ~within
    rows = np.arange(lung.shape[0])[:, None]
    regions = {
        "between_brighter": within & ~lung,
        "beside_brighter": beside,
        "below_brighter": np.broadcast_to(rows >= bottom, lung.shape),
        "above_brighter": np.broadcast_to(rows < top, lung.shape),
    }
    values = {
        name: float(film[region].mean()) - inside if region.any() else 0.0
        for name, region in regions.items()
    }
    return {"lung_brightness": inside, "lung_spread": float(film[lung].std()), **values}


def _ends(line: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Give the first true place and the one after the last."""
    places = np.flatnonzero(line)
    return int(places[0]), int(places[-1]) + 1


def _correlation(one: Map, other: Map) -> float:
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0
