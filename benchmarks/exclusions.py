"""Rectangular artefacts: false alarms on real films, and how many pasted rectangles are found.

    python benchmarks/exclusions.py --manifest CSV [--manifest CSV] [--every 1] [--pictures DIR]

Films of the manifests are taken to be free of rectangles; look at what is flagged (--pictures).
Each film then gets one rectangle: sides of 5 to 25 % of the film's, any place, black, white or a
grey between; once as it is, once saved as JPEG of quality 92. A rectangle counts as found where the
box overlaps it by half (intersection over union). It counts as seen where it changed most of the
pixels that it covers: a black box on black air is no artefact, and cannot be told from it.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from cxrexport.admission.rectangles import find_rectangles
from cxrexport.manifest import read_manifest
from cxrexport.preprocessing import DecodedFilm, decode_film
from cxrexport.preprocessing.crop import Box

COLOURS = ("black", "white", "grey")


def pasted(film: DecodedFilm, chance: np.random.Generator) -> tuple[DecodedFilm, Box, str, bool]:
    """A film with a rectangle on it, where that is, its colour, and whether it can be seen."""
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
    return DecodedFilm(pixels), (left, top, width, height), COLOURS[colour], changed.mean() > 0.5


def as_jpeg(film: DecodedFilm) -> DecodedFilm:
    """The film once it was saved with loss."""
    grey = (film.pixels >> 8).astype(np.uint8)
    encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    return decode_film(encoded.tobytes())


def agree(one: Box, other: Box) -> bool:
    """Whether two boxes overlap by half."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0, across) * max(0, down)
    return shared >= 0.5 * (one[2] * one[3] + other[2] * other[3] - shared)


def draw(film: DecodedFilm, boxes: Sequence[Box], path: Path) -> None:
    """Write a picture of what was found."""
    picture = cv2.cvtColor((film.pixels >> 8).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    for left, top, width, height in boxes:
        cv2.rectangle(picture, (left, top), (left + width, top + height), (0, 0, 255), 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def main(
    manifest: Annotated[list[Path], typer.Option(help="CSV of films; may be given again.")],
    every: Annotated[int, typer.Option(min=1, help="Look at each n-th film only.")] = 1,
    seed: Annotated[int, typer.Option(help="Of places, sizes and values.")] = 0,
    pictures: Annotated[Path | None, typer.Option(help="Where flagged films are drawn.")] = None,
) -> None:
    """Print both tables."""
    rows = [row for path in manifest for row in read_manifest(path)][::every]
    chance = np.random.default_rng(seed)
    flagged: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    found: defaultdict[tuple[str, str], list[tuple[bool, bool]]] = defaultdict(list)
    seconds = 0.0
    for row in rows:
        film = decode_film(row.image.read_bytes())
        start = time.process_time()
        boxes = find_rectangles(film)
        seconds += time.process_time() - start
        source = row.source or "unknown"
        sources[source] += 1
        flagged[source] += bool(boxes)
        if boxes and pictures:
            draw(film, boxes, pictures / f"{row.image.stem}.png")
        spoilt, place, colour, seen = pasted(film, chance)
        for saved, given in (("exact", spoilt), ("JPEG 92", as_jpeg(spoilt))):
            hit = any(agree(place, box) for box in find_rectangles(given))
            found[saved, colour].append((hit, seen))

    table = Table("source", "films", "flagged", title="False alarms")
    for source, films in sorted(sources.items()):
        table.add_row(source, str(films), str(flagged[source]))
    table.add_section()
    share = 100 * flagged.total() / len(rows)
    table.add_row("all", str(len(rows)), f"{flagged.total()} ({share:.2f} %)")
    console = Console(width=100)
    console.print(table)
    table = Table("saved", "colour", "found of all", "found of seen", title="Pasted rectangles")
    for (saved, colour), hits in sorted(found.items()):
        table.add_row(saved, colour, share_of(hits), share_of([h for h in hits if h[1]]))
    together = [hit for hits in found.values() for hit in hits]
    table.add_section()
    table.add_row("all", "", share_of(together), share_of([h for h in together if h[1]]))
    console.print(table)
    console.print(f"{1000 * seconds / len(rows):.1f} ms of one core a film, decoding not counted")


def share_of(hits: Sequence[tuple[bool, bool]]) -> str:
    """Percentage with its counts."""
    count = sum(hit for hit, _ in hits)
    return f"{100 * count / len(hits):.1f} % ({count} of {len(hits)})" if hits else "-"


if __name__ == "__main__":
    typer.run(main)
