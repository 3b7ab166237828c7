"""Lung masks through Triton against a manifest's masks, at the film's size: Dice by source.

Twice: as the server's map has them, and as `cxrclient predict --masks` writes them (holes filled).

    python benchmarks/lungs.py --manifest CSV [--split test] [--server HOST:PORT]

Without --server it starts one on the committed repository.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from measuring.server import server_at
from reports.tables import Table, print_table
from rich.console import Console

from cxrclient import CxrClient, FilmError, Prediction
from cxrclient.pages import film_mask, lung_mask
from cxrexport.manifest import read_manifest


def dice(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Overlap of two masks [H, W], 0..1; two empty masks agree."""
    total = ours.sum() + theirs.sum()
    return 2.0 * float(np.logical_and(ours, theirs).sum()) / float(total) if total else 1.0


def mask_of(prediction: Prediction) -> np.ndarray:
    """The served lung mask, bool [film height, film width]."""
    lungs, geometry = prediction.lungs, prediction.geometry
    assert lungs is not None  # noqa: S101  # predicted with maps
    assert geometry is not None  # noqa: S101
    return lung_mask(lungs, geometry, lungs.shape[0])


def main(
    manifest: Annotated[Path, typer.Option(help="CSV with a mask column.")],
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    server: Annotated[str | None, typer.Option(help="gRPC HOST:PORT.")] = None,
    repository: Annotated[Path, typer.Option()] = Path("model_repository"),
) -> None:
    """Print mean Dice by source and over all."""
    rows = [r for r in read_manifest(manifest) if r.mask and (split is None or r.split == split)]
    scores: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    changed = 0
    with (
        server_at(server, repository) as address,
        CxrClient(address, timeout_s=600, gate=False) as cxr,
    ):
        results = cxr.predict_many([row.image for row in rows], maps=True)
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, FilmError):
                raise result
            truth = cv2.imread(str(row.mask), cv2.IMREAD_GRAYSCALE) > 0
            served, written = mask_of(result), film_mask(result)
            changed += bool((served != written).any())
            for source in (row.source or "unknown", "all"):
                scores[source, "served"].append(dice(served, truth))
                scores[source, "written"].append(dice(written, truth))
        digest = cxr.model.digest
    cells = []
    for (source, mask), values in sorted(scores.items()):
        figures = (np.mean(values), np.std(values), np.min(values))
        cells.append((source, mask, str(len(values)), *(f"{figure:.5f}" for figure in figures)))
    columns = ("source", "mask", "films", "mean Dice", "sd", "worst")
    title = f"Lungs, model {digest[:12]}; filling holes changed {changed} of {len(rows)} masks"
    print_table(Console(width=100), Table(title, columns, cells))


if __name__ == "__main__":
    typer.run(main)
