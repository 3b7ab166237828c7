"""The picture that people read: film, lungs, heat, and below it what was found and by what."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cxrclient.dicom_results.objects import MANUFACTURER, Subject, software_version
from cxrclient.dicom_results.study import NO_DATE
from cxrclient.dicom_results.words import plain
from cxrclient.pages import CONTOUR_COLOUR, HEAT_OPACITY, heat_colours
from cxrclient.wire import Prediction, maps_of

SHORTER_SIDE_PX = 1024
_LONGEST_SIDE_PX = 4096
_BLACK, _WHITE, _GREY, _AMBER = (0, 0, 0), (255, 255, 255), (190, 190, 190), (255, 191, 0)


def picture_of(
    subject: Subject, prediction: Prediction, brightness: npt.NDArray[np.uint16]
) -> npt.NDArray[np.uint8]:
    """Draw the film with its result.

    Args:
        subject: the film.
        prediction: made with `maps=True`.
        brightness: the film in its window, dense bright, [rows, columns].

    Returns:
        uint8 [height, width, 3]; the film's shorter side has 1024 pixels. Nothing of the patient
        is on it but what the film itself shows.
    """
    film = _film(subject, prediction, brightness)
    strip = _strip(subject, prediction, film.width)
    whole = Image.new("RGB", (film.width, film.height + strip.height))
    whole.paste(film)
    whole.paste(strip, (0, film.height))
    return np.asarray(whole)


def _film(
    subject: Subject, prediction: Prediction, brightness: npt.NDArray[np.uint16]
) -> Image.Image:
    sides = sorted((subject.rows, subject.columns))
    scale = min(SHORTER_SIDE_PX / sides[0], _LONGEST_SIDE_PX / sides[1])
    size = (round(subject.columns * scale), round(subject.rows * scale))
    grey = Image.fromarray((brightness >> 8).astype(np.uint8))
    grey = grey.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    heat = _heat(prediction, scale, size)
    colours = heat.copy()
    colours.putpalette(heat_colours(np.linspace(0, 1, 256, dtype=np.float32)[None]).tobytes())
    opacity = heat.point([round(HEAT_OPACITY * level) for level in range(256)])
    picture = Image.composite(colours.convert("RGB"), grey.convert("RGB"), opacity)
    draw = ImageDraw.Draw(picture)
    for ring in subject.outlines:
        points = [tuple(point) for point in ((ring + 0.5) * scale - 0.5).tolist()]
        draw.line([*points, points[0]], fill=CONTOUR_COLOUR, width=3, joint="curve")
    return picture


def _heat(prediction: Prediction, scale: float, size: tuple[int, int]) -> Image.Image:
    """The heatmap on the scaled film, in 256 levels; none outside of the square."""
    heatmap, geometry, lungs = maps_of(prediction, "heatmap", "geometry", "lungs")
    a, _, c, _, e, f = (float(number) for number in geometry[2:])
    cells = lungs.shape[0] / heatmap.shape[0]  # network pixels in a cell of the heatmap
    levels = np.rint(np.clip(heatmap, 0, 1) * 255).astype(np.uint8)
    square = Image.fromarray(np.pad(levels, 1, mode="edge"))
    # Edges at whole numbers: from the picture to the film, to the square, to the padded map.
    along = [1 / (scale * step * cells) for step in (a, e)]
    at = [1 + (0.5 - (0.5 + offset) / step) / cells for step, offset in ((a, c), (e, f))]
    heat = np.array(
        square.transform(
            size,
            Image.Transform.AFFINE,
            (along[0], 0, at[0], 0, along[1], at[1]),
            resample=Image.Resampling.BILINEAR,
        )
    )
    for axis, (step, start) in enumerate(((along[1], at[1]), (along[0], at[0]))):
        place = start + step * (np.arange(heat.shape[axis]) + 0.5)
        outside = (place < 1) | (place > 1 + levels.shape[axis])
        heat[(slice(None),) * axis + (outside,)] = 0
    return Image.fromarray(heat)


def _strip(subject: Subject, prediction: Prediction, width: int) -> Image.Image:
    """What stands below the film."""
    ensemble, unit = subject.ensemble, SHORTER_SIDE_PX // 40
    finding = ensemble.finding.meaning if ensemble.finding else ensemble.labels[1]
    above = prediction.label == ensemble.labels[1]
    point = ensemble.operating_point
    named = f" ({point.name})" if point else ""
    members = ", ".join(f"{name} {100 * each:.1f} %" for name, each in prediction.members.items())
    moment = subject.header.moment
    date = f"of {moment[0][:4]}-{moment[0][4:6]}-{moment[0][6:]}"
    when = "without a date" if moment == NO_DATE else date
    lines = [
        (2.2, _WHITE, f"{finding}: {100 * prediction.probability:.1f} %"),
        (
            1.0,
            _WHITE,
            f"{'Above' if above else 'Not above'} the operating point of "
            f"{100 * ensemble.threshold:.1f} %{named}. {prediction.votes} of "
            f"{len(prediction.members)} networks say {ensemble.labels[1]}: {members}.",
        ),
        *(
            (0.85, _AMBER, f"{code}: {ensemble.admission.sentence(code)}")
            for code in prediction.warnings
        ),
        (0.75, _AMBER, ensemble.notice),
        (
            0.75,
            _GREY,
            f"Model {ensemble.name}, {ensemble.digest[:12]}. {MANUFACTURER} {software_version()}. "
            f"Film {when}. Outline: lungs. Not for measuring.",
        ),
    ]
    drawn = [
        (round(unit * share), colour, row)
        for share, colour, words in lines
        # The first line leaves room for the scale beside it.
        for row in _rows(plain(words), round(unit * share), width - (12 if share > 2 else 2) * unit)
    ]
    height = round(1.35 * sum(font_px for font_px, _, _ in drawn) + 2 * unit)
    strip = Image.new("RGB", (width, height), _BLACK)
    draw, top = ImageDraw.Draw(strip), unit / 2
    for font_px, colour, row in drawn:
        draw.text((unit, top), row, font=ImageFont.load_default(size=font_px), fill=colour)
        top += 1.35 * font_px
    _scale(strip, unit)
    return strip


def _rows(words: str, font_px: int, width_px: int) -> list[str]:
    """Words in rows that fit; a longer word is cut."""
    font = ImageFont.load_default(size=font_px)
    rows = [""]
    for word in words.split(" "):
        while font.getlength(word) > width_px:
            fits = next(n for n in range(len(word), 0, -1) if font.getlength(word[:n]) <= width_px)
            rows.append(word[:fits])
            word = word[fits:]
        longer = f"{rows[-1]} {word}".strip()
        if font.getlength(longer) <= width_px:
            rows[-1] = longer
        else:
            rows.append(word)
    return [row for row in rows if row]


def _scale(strip: Image.Image, unit: int) -> None:
    """The heat's colours, in the upper right corner, beside the first line."""
    width, height = 8 * unit, unit // 2
    ramp = heat_colours(np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1)))
    left = strip.width - width - unit
    strip.paste(Image.fromarray(ramp), (left, round(1.5 * unit)))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size=round(0.7 * unit))
    draw.text((left, 0.5 * unit), "Heat: where they looked", font=font, fill=_GREY)
    draw.text((left, 2.05 * unit), "least", font=font, fill=_GREY)
    draw.text((left + width, 2.05 * unit), "most", font=font, fill=_GREY, anchor="ra")
