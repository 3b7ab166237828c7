"""Copies of films told from other films: how alike different films are, and how alike copies.

    python benchmarks/copies.py --manifest CSV [--manifest CSV] [--every 8]

Prints the largest likeness of any two films of the manifests, in both measures of
`cxrexport.manifest.copies`, and the smallest of films with copies of themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from cxrexport.manifest import read_manifest
from cxrexport.manifest.copies import COARSE, FINE, coarse_sketch, find_copies, fine_sketch
from cxrexport.preprocessing import decode_film


def windowed(film: np.ndarray) -> np.ndarray:
    """The film between its 2nd and 98th percentile, 8 bits."""
    low, high = np.percentile(film, (2, 98))
    return np.clip((film - low) / (high - low) * 255, 0, 255).astype(np.uint8)


def jpeg(film: np.ndarray, quality: int) -> np.ndarray:
    """The film saved with loss."""
    eight = (film >> 8).astype(np.uint8)
    encoded = cv2.imencode(".jpg", eight, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)


EXPORTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "8 bits": lambda film: (film >> 8).astype(np.uint8),
    "JPEG, quality 75": lambda film: jpeg(film, 75),
    "JPEG, quality 50": lambda film: jpeg(film, 50),
    "half the size": lambda film: cv2.resize(film, None, fx=0.5, fy=0.5),
    "gamma 0.7": lambda film: (65535 * (film / 65535) ** 0.7).astype(np.uint16),
    "2nd to 98th percentile": windowed,
}


def main(
    manifest: Annotated[list[Path], typer.Option(help="CSV of films; may be given again.")],
    every: Annotated[int, typer.Option(min=1, help="Make copies of each n-th film.")] = 8,
) -> None:
    """Print both tables."""
    rows = [row for path in manifest for row in read_manifest(path)]
    films = [decode_film(row.image.read_bytes()).pixels for row in rows]
    coarse = [coarse_sketch(film) for film in films]
    fine = [fine_sketch(film) for film in films]
    console = Console(width=100)
    pairs = np.triu_indices(len(films), 1)
    alike = [(np.stack(s) @ np.stack(s).T)[pairs] for s in (coarse, fine)]
    copies = list(find_copies(coarse, lambda film: fine[film]))
    console.print(
        f"{len(films)} films, {len(pairs[0])} pairs: coarse at most {alike[0].max():.3f} "
        f"(a copy from {COARSE}), fine at most {alike[1].max():.3f} (from {FINE}); "
        f"{len(copies)} pairs called copies"
    )
    for later, earlier, likeness in copies:
        console.print(f"  {rows[later].image.name} and {rows[earlier].image.name}: {likeness:.3f}")
    table = Table("copy", "coarse, least", "fine, least", "found")
    for name, export in EXPORTS.items():
        likeness = np.array(
            [
                (coarse[n] @ coarse_sketch(copy), fine[n] @ fine_sketch(copy))
                for n in range(0, len(films), every)
                for copy in (export(films[n]),)
            ]
        )
        hits = (likeness >= (COARSE, FINE)).all(axis=1)
        least = likeness.min(axis=0)
        found = f"{100 * hits.mean():.1f} % ({hits.sum()} of {hits.size})"
        table.add_row(name, f"{least[0]:.3f}", f"{least[1]:.3f}", found)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
