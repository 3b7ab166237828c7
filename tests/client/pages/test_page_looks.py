"""A page's pictures and colours: drawn where they belong, and readable."""

from __future__ import annotations

import re

import numpy as np
import pytest


def test_the_contour_and_the_heat_are_drawn_where_they_are(predicted) -> None:
    from cxrclient.pages.pictures import contour_picture, film_picture, heat_picture

    seen = predicted()
    film = np.array(film_picture(seen, 64).convert("RGB")).astype(int)
    contour = np.abs(np.array(contour_picture(seen, 64)).astype(int) - film).sum(2) > 0
    rows, columns = np.nonzero(contour)
    assert np.hypot(rows - 32, columns - 32) == pytest.approx(19, abs=1.5)
    heat = np.abs(np.array(heat_picture(seen, 64)).astype(int) - film).sum(2)
    assert heat[:16, 48:].mean() > 50 > heat[48:, :16].mean() == 0


def test_the_scale_has_the_colours_of_the_picture_over_middle_grey(predicted, text: str) -> None:
    from cxrclient.pages.pictures import heat_picture

    hottest = predicted(
        cxr=np.full((64, 64), 128 / 255, np.float32), heatmap=np.ones((2, 2), np.float32)
    )
    red, green, blue = heat_picture(hottest, 64).getpixel((32, 32))
    assert f", rgb({red} {green} {blue}))" in text
    assert "to right, rgb(128 128 128)," in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_of_at_least_4_5_on_its_ground(text: str, scheme: str) -> None:
    """Source: WCAG 2.2, success criterion 1.4.3."""
    light, dark = text.split("prefers-color-scheme: dark", maxsplit=1)
    found = re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark)
    colours = dict(found)
    assert len(colours) == len(found) == 11

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for ink, ground in (
        ("ink", "ground"),
        ("ink", "warn-ground"),
        ("ink", "alarm-ground"),
        ("ink", "soft"),
        ("quiet", "ground"),
        ("quiet", "soft"),
        ("accent", "ground"),
    ):
        low, high = sorted((luminance(colours[ink]), luminance(colours[ground])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)
