"""The pictures of a page: the film as the networks saw it, with what they made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrclient._geometry import LUNG_PROBABILITY
from cxrclient.prediction import maps_of
from cxrclient.render import (
    CONTOUR_COLOUR,
    contour,
    grey_image,
    heat_colours,
    heated,
    stretched,
)

if TYPE_CHECKING:
    from PIL import Image

    from cxrclient.prediction import Prediction

__all__ = ["colour_scale", "contour_picture", "film_picture", "heat_picture"]


def film_picture(prediction: Prediction, largest_px: int) -> Image.Image:
    """The film, grey, at most `largest_px` wide and high."""
    (cxr,) = maps_of(prediction, "cxr")
    image = grey_image(cxr)
    image.thumbnail((largest_px, largest_px))
    return image


def contour_picture(prediction: Prediction, largest_px: int) -> Image.Image:
    """The film with the outline of the lungs, drawn at the picture's size so that it stays fine."""
    (lungs,) = maps_of(prediction, "lungs")
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


def colour_scale(steps: int = 9) -> str:
    """The heatmap's colours from 0 to 1, as stops of a CSS gradient."""
    colours = heat_colours(np.linspace(0, 1, steps, dtype=np.float32)[None])[0]
    return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in colours)


def _image(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels)
