"""Pictures of a prediction: the lung mask at the film's size, and the overlay of what was seen.

numpy and Pillow only. Maps are float arrays [rows, columns]; film and mask share pixel centres.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrclient.films import LUNG_PROBABILITY, FloatArray, sampled_on_film
from cxrclient.wire import EnsembleInfo, Prediction, maps_of

if TYPE_CHECKING:
    from PIL import Image, ImageFont

BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]

CONTOUR_COLOUR = (64, 224, 208)
HEAT_OPACITY = 0.55
_JPEG_QUALITY = 90
_MIDDLE_GREY = 128
_TEXT_COLOUR = (230, 230, 230)

# Nine points of matplotlib's `inferno` (CC0), from 0 to 1: even steps to the eye, and readable by
# those who do not see red and green apart.
_INFERNO = np.array(
    [
        (0, 0, 4),
        (31, 12, 72),
        (85, 15, 109),
        (136, 34, 106),
        (186, 54, 85),
        (227, 89, 51),
        (249, 140, 10),
        (249, 201, 50),
        (252, 255, 164),
    ],
    dtype=np.float32,
)


def lung_mask(lungs: FloatArray, geometry: FloatArray, image_size_px: int) -> BoolArray:
    """The lungs on the film: bool [film height, film width]."""
    return sampled_on_film(lungs, geometry, image_size_px) >= LUNG_PROBABILITY


def mask_png(prediction: Prediction) -> bytes:
    """The lung mask as PNG: the film's size, 255 in the lungs and 0 elsewhere, without holes.

    Raises:
        UsageError: the prediction was made without `maps=True`.
    """
    (geometry,) = maps_of(prediction, "geometry")
    lungs = whole_lungs(prediction)
    mask = lung_mask(lungs, geometry, lungs.shape[0])
    return png_bytes(grey_image(mask.astype(np.float32)))


def whole_lungs(prediction: Prediction) -> npt.NDArray[np.float32]:
    """The lung map of a prediction with 1 in the holes of its mask.

    The server keeps the two largest parts already; a hole in them is no air that a film lacks, but
    a rib, a vessel or an opacity that the network took for none of the lung.

    Returns:
        float32 [S, S].
    """
    (lungs,) = maps_of(prediction, "lungs")
    mask = lungs >= LUNG_PROBABILITY
    return np.where(holes(mask), np.float32(1), lungs)


def holes(mask: BoolArray) -> BoolArray:
    """What is not in a mask and cannot be left to the picture's border without crossing it.

    A step goes along a row or a column, so parts of the mask that touch at a corner are closed.

    Args:
        mask: [rows, columns].
    """
    ground = np.pad(~mask, 1, constant_values=True)
    runs = _runs(ground), _runs(ground.T).T
    reached = np.zeros_like(ground)
    reached[0] = True
    before = 0
    while before != (before := int(reached.sum())):
        for run in runs:
            met = np.zeros(run.max() + 1, dtype=bool)
            met[run[reached]] = True
            reached = met[run] & ground
    return (ground & ~reached)[1:-1, 1:-1]


def _runs(ground: BoolArray) -> npt.NDArray[np.intp]:
    """Number the stretches of equal values in each row."""
    first = np.ones(ground.shape, dtype=bool)
    first[:, 1:] = ground[:, 1:] != ground[:, :-1]
    numbers: npt.NDArray[np.intp] = np.cumsum(first).reshape(ground.shape)
    return numbers


def contour(mask: BoolArray, thickness_px: int = 1) -> BoolArray:
    """The inner edge of a mask.

    Args:
        mask: [rows, columns].
        thickness_px: how far the edge reaches into the mask; the border of the picture counts as
            outside.

    Returns:
        bool [rows, columns], true on the edge.
    """
    inside = mask
    for _ in range(thickness_px):
        framed = np.pad(inside, 1)
        inside = (
            framed[1:-1, 1:-1]
            & framed[:-2, 1:-1]
            & framed[2:, 1:-1]
            & framed[1:-1, :-2]
            & framed[1:-1, 2:]
        )
    return mask & ~inside


def heat_colours(heat: FloatArray) -> ByteArray:
    """Colour a map of 0..1, dark to bright: uint8 [rows, columns, 3]."""
    place = np.clip(heat, 0.0, 1.0) * (len(_INFERNO) - 1)
    lower = np.minimum(place.astype(np.intp), len(_INFERNO) - 2)
    weight = (place - lower)[..., None]
    colours = _INFERNO[lower] * (1 - weight) + _INFERNO[lower + 1] * weight
    return np.asarray(np.rint(colours), dtype=np.uint8)


def heated(film: FloatArray | ByteArray, heat: FloatArray) -> ByteArray:
    """A film under its heatmap: the warmer, the less of the film shows through.

    Args:
        film: [rows, columns, 1 or 3], 0..255.
        heat: [rows, columns], 0..1.

    Returns:
        uint8 [rows, columns, 3].
    """
    opacity = HEAT_OPACITY * np.clip(heat, 0.0, 1.0)[..., None]
    blended = film * (1 - opacity) + heat_colours(heat) * opacity
    return np.asarray(np.rint(blended), dtype=np.uint8)


def stretched(values: FloatArray, size_px: int) -> npt.NDArray[np.float32]:
    """A coarse map (the heatmap) on the network's square: float32 [size_px, size_px]."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    resized = image.resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32)


def overlay(prediction: Prediction, text: str | None = None) -> Image.Image:
    """The film as the networks saw it, with the lung contour, the heat, and a caption below.

    Args:
        prediction: made with `maps=True`.
        text: the caption, as `caption` writes it, to stand below with the heat's colour bar; None
            for the film alone.

    Returns:
        An RGB image, S pixels wide.

    Raises:
        UsageError: the prediction was made without `maps=True`.
    """
    from PIL import Image

    cxr, heatmap = maps_of(prediction, "cxr", "heatmap")
    size_px = cxr.shape[0]
    picture = heated(np.clip(cxr, 0.0, 1.0)[..., None] * 255.0, stretched(heatmap, size_px))
    inside = whole_lungs(prediction) >= LUNG_PROBABILITY
    edge = contour(inside, thickness_px=max(1, size_px // 256))
    picture[edge] = CONTOUR_COLOUR
    image = Image.fromarray(picture)
    return image if text is None else captioned(image, text)


def caption(prediction: Prediction, ensemble: EnsembleInfo) -> str:
    """What belongs under every picture: probability, votes, label, model, the server's notice."""
    return (
        f"p({ensemble.labels[1]}) = {prediction.probability:.3f}, "
        f"{prediction.votes} of {len(prediction.members)} votes: {prediction.label} "
        f"({prediction.model.name})\n{ensemble.notice}"
    )


def captioned(image: Image.Image, text: str) -> Image.Image:
    """The image with the heat's colour bar and a text below it, as large as the image asks for."""
    from PIL import Image, ImageDraw, ImageFont

    font_px = max(10, image.width // 36)
    margin = font_px // 2
    font = ImageFont.load_default(size=font_px)
    lines = _wrapped(text, font, image.width - 2 * margin)
    line_px = round(font_px * 1.35)
    height = image.height + 2 * margin + line_px * (len(lines) + 1)
    framed = Image.new("RGB", (image.width, height))
    framed.paste(image)
    draw = ImageDraw.Draw(framed)

    def write(x: int, line: int, words: str) -> None:
        place = (x, image.height + margin + line * line_px)
        draw.text(place, words, font=font, fill=_TEXT_COLOUR)

    before, after = ("heat 0", "1") if image.width > 12 * font_px else ("0", "1")
    left = 2 * margin + round(font.getlength(before))
    right = image.width - 2 * margin - round(font.getlength(after))
    write(margin, 0, before)
    write(right + margin, 0, after)
    bar = Image.fromarray(colour_bar(max(1, right - left), font_px))
    framed.paste(bar, (left, image.height + margin + font_px // 6))
    for number, line in enumerate(lines, 1):
        write(margin, number, line)
    return framed


def colour_bar(width_px: int, height_px: int) -> ByteArray:
    """The heatmap's colours from 0 to 1 over middle grey, as they look on a film.

    Returns:
        uint8 [height_px, width_px, 3].
    """
    heat = np.linspace(0, 1, width_px, dtype=np.float32)[None]
    colours = heated(np.full((1, width_px, 1), _MIDDLE_GREY, dtype=np.uint8), heat)
    return np.repeat(colours, height_px, axis=0)


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int
) -> list[str]:
    """Lines that fit the width; a word that is longer stands alone."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width_px:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return lines


def grey_image(values: FloatArray) -> Image.Image:
    """A map of 0..1 as an 8-bit grey image, 1 is white."""
    from PIL import Image

    return Image.fromarray(np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8))


def png_bytes(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG file that says who wrote it."""
    from PIL.PngImagePlugin import PngInfo

    origin = PngInfo()
    origin.add_text("Software", "cxrclient")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=origin)
    return buffer.getvalue()


def data_uri(image: Image.Image, quality: int = _JPEG_QUALITY) -> str:
    """An image as a `data:` URI, for a page that stands alone.

    JPEG without chroma subsampling, so that thin coloured lines stay: at 512 px a third of PNG's
    bytes, which a page of hundreds of films needs.
    """
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
