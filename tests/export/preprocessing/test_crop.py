"""Borders go, lungs never."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrexport.phantom import draw_phantom
from cxrexport.preprocessing import DecodedFilm, PreprocessingSpec, decode_film, film_box

SPEC = PreprocessingSpec()


def on_black(thorax: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    film = (thorax.astype(np.uint32) * 15).astype(np.uint16)
    return cv2.copyMakeBorder(film, top, bottom, left, right, cv2.BORDER_CONSTANT)


def test_black_borders_go_and_the_film_stays(thorax: np.ndarray) -> None:
    film = on_black(thorax, 60, 40, 30, 0)
    x, y, width, height = film_box(DecodedFilm(film), SPEC)
    # Up to three samples of the thumbnail, 1.7 pixels each, may be left of each border.
    assert (x, y) == (pytest.approx(60, abs=6), pytest.approx(40, abs=6))
    assert x <= 60
    assert y <= 40
    assert x + width == pytest.approx(60 + 340, abs=6)
    assert x + width >= 400
    assert y + height == film.shape[0]


def test_text_in_a_margin_does_not_keep_the_margin(thorax: np.ndarray) -> None:
    film = on_black(thorax, 0, 90, 0, 0)
    plain = film_box(DecodedFilm(film.copy()), SPEC)
    for line in range(3):
        cv2.putText(film, "PORTABLE 12:40 L", (10, 25 + 25 * line), 0, 0.7, 65535, 1)
    assert film_box(DecodedFilm(film), SPEC) == plain
    assert plain[1] > 80


def test_blank_white_margins_go(thorax: np.ndarray) -> None:
    film = on_black(thorax, 0, 0, 0, 0)
    framed = cv2.copyMakeBorder(film, 50, 0, 50, 0, cv2.BORDER_CONSTANT, value=65535)
    x, y, _, _ = film_box(DecodedFilm(framed), SPEC)
    assert 40 <= x <= 50
    assert 40 <= y <= 50


def test_a_film_without_borders_is_kept_whole(thorax: np.ndarray) -> None:
    film = on_black(thorax, 0, 0, 0, 0)
    assert film_box(DecodedFilm(film), SPEC) == (0, 0, 340, 380)


def test_a_crop_that_leaves_too_little_is_not_made() -> None:
    film = np.zeros((400, 400), np.uint16)
    film[150:260, 150:260] = 40_000
    assert film_box(DecodedFilm(film), SPEC) == (0, 0, 400, 400)


def test_a_noisy_dark_patch_at_the_edge_is_not_a_border(thorax: np.ndarray) -> None:
    film = on_black(thorax, 0, 0, 0, 0)
    rng = np.random.default_rng(0)
    film[:, :80] = rng.integers(0, 8000, (380, 80))
    assert film_box(DecodedFilm(film), SPEC)[0] == 0


@pytest.mark.parametrize("seed", range(12))
def test_the_lungs_of_phantoms_are_never_cut(seed: int) -> None:
    phantom = draw_phantom(seed, seed % 2 == 1, 512)
    film = DecodedFilm((phantom.image * 65535).astype(np.uint16))
    x, y, width, height = film_box(film, SPEC)
    assert phantom.lungs[y : y + height, x : x + width].sum() == phantom.lungs.sum()


@pytest.mark.parametrize(("collection", "films"), [("tb-lungs", 563), ("covid-cxr", 68)])
def test_the_lungs_of_real_films_are_never_cut(
    collection: str, films: int, shared_data: Path
) -> None:
    folder = shared_data / collection
    with (folder / "metadata.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mask"]]
    assert len(rows) == films
    lost = {}
    for row in rows:
        film = decode_film((folder / "images" / row["image"]).read_bytes())
        mask = cv2.imread(str(folder / "masks" / row["mask"]), cv2.IMREAD_GRAYSCALE) > 127
        x, y, width, height = film_box(film, SPEC)
        kept = mask[y : y + height, x : x + width].sum()
        if kept < mask.sum():
            lost[row["image"]] = 1 - kept / mask.sum()
    assert lost == {}
