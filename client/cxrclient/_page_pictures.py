"""The pictures of a page: the film as the networks saw it, with what they made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrclient._geometry import LUNG_PROBABILITY
from cxrclient.errors import UsageError
from cxrclient.render import (
    CONTOUR_COLOUR,
    HEAT_OPACITY,
    contour,
    grey_image,
    heat_colours,
    stretched,
)

if TYPE_CHECKING:
    from PIL import Image

    from cxrclient.prediction import Prediction

__all__ = ["colour_scale", "contour_picture", "film_picture", "heat_picture"]


def film_picture(prediction: Prediction, largest_px: int) -> Image.Image:
    """The film, grey, at most `largest_px` wide and high."""
    image = grey_image(_map(prediction.cxr))
    image.thumbnail((largest_px, largest_px))
    return image


def contour_picture(prediction: Prediction, largest_px: int) -> Image.Image:
    """The film with the outline of the lungs, drawn at the picture's size so that it stays fine."""
    image = film_picture(prediction, largest_px).convert("RGB")
    lungs = stretched(_map(prediction.lungs), image.width)
    edge = contour(lungs >= LUNG_PROBABILITY, thickness_px=max(1, image.width // 256))
    pixels = np.array(image)
    pixels[edge] = CONTOUR_COLOUR
    return _image(pixels)


def heat_picture(prediction: Prediction, largest_px: int) -> Image.Image:
    """The film under the heatmap: the warmer, the less of the film shows through."""
    image = film_picture(prediction, largest_px).convert("RGB")
    heat = stretched(_map(prediction.heatmap), image.width)
    opacity = HEAT_OPACITY * np.clip(heat, 0.0, 1.0)[..., None]
    return _image(np.rint(np.array(image) * (1 - opacity) + heat_colours(heat) * opacity))


def colour_scale(steps: int = 9) -> str:
    """The heatmap's colours from 0 to 1, as stops of a CSS gradient."""
    colours = heat_colours(np.linspace(0, 1, steps, dtype=np.float32)[None])[0]
    return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in colours)


def _map(values: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    if values is None:
        raise UsageError("A page needs predictions with maps: `predict(film, maps=True)`.")
    return values


def _image(pixels: npt.NDArray[np.generic]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels.astype(np.uint8))
