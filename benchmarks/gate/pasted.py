"""Rectangles and writing put on chest films: how many the served gate sees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cxrexport.admission import find_writing, grey_copy, has_rectangle
from cxrexport.manifest import read_manifest
from cxrexport.preprocessing import DecodedFilm, PreprocessingSpec, decode_film, preprocess_film

EVERY = 12
TEXT = "DOE JANE 12.3.2020"
COLOURS = ("black", "white", "grey")


def found_of_pasted(
    manifests: Sequence[Path], spec: PreprocessingSpec
) -> dict[str, tuple[int, int]]:
    """Give what was put on films that show it → (seen by the gate, all)."""
    chance = np.random.default_rng(0)
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for row in [row for path in manifests for row in read_manifest(path)][::EVERY]:
        film = decode_film(row.image.read_bytes())
        spoilt, colour, visible = pasted(film, chance)
        for saved, given in (("as it is", spoilt), ("JPEG 92", as_jpeg(spoilt))):
            if visible:
                grey = grey_copy(preprocess_film(given, spec).image[0])
                hits[f"{colour} rectangle, {saved}"].append(has_rectangle(grey))
        grey = grey_copy(preprocess_film(_written_on(film, chance), spec).image[0])
        hits["a line of writing"].append(find_writing(grey))
    return {what: (sum(found), len(found)) for what, found in sorted(hits.items())}


def pasted(film: DecodedFilm, chance: np.random.Generator) -> tuple[DecodedFilm, str, bool]:
    """A film with a rectangle on it, its colour, and whether it can be seen.

    Sides are 5 to 25 % of the film's. It can be seen where it changed most of the pixels that it
    covers: a black box on black air is no artefact, and cannot be told from it.
    """
    rows, columns = film.pixels.shape
    width, height = (int(side * chance.uniform(0.05, 0.25)) for side in (columns, rows))
    left, top = int(chance.integers(columns - width + 1)), int(chance.integers(rows - height + 1))
    low, high = int(film.pixels.min()), int(film.pixels.max())
    colour = int(chance.integers(3))
    value = (low, high, int(low + (high - low) * chance.uniform(0.2, 0.8)))[colour]
    pixels = film.pixels.copy()
    covered = pixels[top : top + height, left : left + width]
    changed = np.abs(covered.astype(np.int64) - value) > 0.03 * (high - low)
    covered[...] = value
    return DecodedFilm(pixels), COLOURS[colour], bool(changed.mean() > 0.5)


def as_jpeg(film: DecodedFilm) -> DecodedFilm:
    """The film once it was saved with loss."""
    grey = (film.pixels >> 8).astype(np.uint8)
    encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    return decode_film(encoded.tobytes())


def _written_on(film: DecodedFilm, chance: np.random.Generator) -> DecodedFilm:
    """Write 18 characters, 2.5 to 5 % of the film's height, anywhere in its left half."""
    pixels = film.pixels.copy()
    rows, columns = pixels.shape
    scale = float(chance.uniform(0.6, 1.2)) * rows / 512
    place = int(chance.integers(columns // 2)), int(chance.integers(rows // 10, rows - 10))
    thick = max(1, round(2 * scale))
    cv2.putText(pixels, TEXT, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 65535, thick)
    return DecodedFilm(pixels)
