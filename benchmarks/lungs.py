"""Lung masks through Triton against a manifest's masks, at the film's size: Dice by source.

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
from cxrclient.pages import lung_mask
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
    scores: defaultdict[str, list[float]] = defaultdict(list)
    with server_at(server, repository) as address, CxrClient(address, timeout_s=600) as cxr:
        results = cxr.predict_many([row.image for row in rows], maps=True)
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, FilmError):
                raise result
            truth = cv2.imread(str(row.mask), cv2.IMREAD_GRAYSCALE) > 0
            scores[row.source or "unknown"].append(dice(mask_of(result), truth))
        digest = cxr.model.digest
    everything = [score for values in scores.values() for score in values]
    cells = []
    for source, values in [*sorted(scores.items()), ("all", everything)]:
        figures = (np.mean(values), np.std(values), np.min(values))
        cells.append((source, str(len(values)), *(f"{figure:.4f}" for figure in figures)))
    columns = ("source", "films", "mean Dice", "sd", "worst")
    print_table(Console(width=100), Table(f"Lungs, model {digest[:12]}", columns, cells))


if __name__ == "__main__":
    typer.run(main)
