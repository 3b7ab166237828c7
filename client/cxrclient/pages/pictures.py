"""The pictures of a page: the film as the networks saw it, with what they made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrclient.films import LUNG_PROBABILITY
from cxrclient.pages.render import (
    CONTOUR_COLOUR,
    colour_bar,
    contour,
    grey_image,
    heated,
    stretched,
    whole_lungs,
)
from cxrclient.wire import maps_of

if TYPE_CHECKING:
    from PIL import Image

    from cxrclient.wire import Prediction


def film_picture(prediction: Prediction, largest_px: int) -> Image.Image:
    """The film, grey, at most `largest_px` wide and high."""
    (cxr,) = maps_of(prediction, "cxr")
    image = grey_image(cxr)
    image.thumbnail((largest_px, largest_px))
    return image


def contour_picture(prediction: Prediction, largest_px: int) -> Image.Image:
    """The film with the outline of the lungs, drawn at the picture's size so that it stays fine."""
    lungs = whole_lungs(prediction)
    image = film_picture(prediction, largest_px).convert("RGB")
    inside = stretched(lungs, image.width) >= LUNG_PROBABILITY
    edge = contour(inside, thickness_px=max(1, image.width // 256))
    pixels = np.array(image)
    pixels[edge] = CONTOUR_COLOUR
    return _image(pixels)


def heat_picture(prediction: Prediction, largest_px: int) -> Image.Image:
    """The film under the heatmap: the warmer, the less of the film shows through."""
    (heatmap,) = maps_of(prediction, "heatmap")
    film = np.array(film_picture(prediction, largest_px))
    return _image(heated(film[..., None], stretched(heatmap, film.shape[1])))


def heat_in_lungs(prediction: Prediction) -> float | None:
    """The share of the heat that lies in the lungs, 0..1; None where there is no heat."""
    heatmap, lungs = maps_of(prediction, "heatmap", "lungs")
    heat = stretched(heatmap, lungs.shape[1]).astype(np.float64)
    total = float(heat.sum())
    return float(heat[lungs >= LUNG_PROBABILITY].sum()) / total if total > 0 else None


def heat_place(prediction: Prediction) -> str | None:
    """Where the heat is highest, for those who do not see it; None where there is none.

    In words of the picture (`upper left`), not of the patient: which side is the patient's right,
    the film's header need not say.
    """
    (heatmap,) = maps_of(prediction, "heatmap")
    if not heatmap.max() > 0:
        return None
    row, column = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
    thirds = [int(3 * (row + 0.5) / heatmap.shape[0]), int(3 * (column + 0.5) / heatmap.shape[1])]
    words = (("upper", "middle", "lower")[thirds[0]], ("left", "centre", "right")[thirds[1]])
    return "centre" if words == ("middle", "centre") else " ".join(words)


def colour_scale(steps: int = 9) -> str:
    """The heatmap's colours from 0 to 1 over middle grey, as stops of a CSS gradient.

    As they are in the picture: blended with the film, not the bare colours.
    """
    return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in colour_bar(steps, 1)[0])


def _image(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels)
