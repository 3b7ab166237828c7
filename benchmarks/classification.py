"""A served model on a manifest: accuracy, sensitivity, specificity, AUC; whole set and by source.

    python benchmarks/classification.py --manifest CSV [--split test] [--server HOST:PORT]

A source with one class only has no AUC, and says so: there a high figure over the whole set can
mean that the source was learnt and not the disease.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from measuring.server import predict_all, server_at
from reports.tables import Table, print_table
from rich.console import Console
from sklearn.metrics import roc_auc_score

from cxrclient import CxrClient
from cxrexport.manifest import read_manifest


def share(hits: np.ndarray) -> str:
    """Percentage with its counts."""
    return f"{100 * hits.mean():.1f} % ({hits.sum()} of {hits.size})" if hits.size else "-"


def figures(truth: np.ndarray, score: np.ndarray, threshold: float) -> list[str]:
    """Cells of one row: n, accuracy, sensitivity, specificity, AUC."""
    said = score > threshold
    auc = "one class only" if len(set(truth)) < 2 else f"{roc_auc_score(truth, score):.3f}"
    return [
        str(truth.size),
        share(said == truth),
        share(said[truth]),
        share(~said[~truth]),
        auc,
    ]


def main(
    manifest: Annotated[Path, typer.Option(help="CSV of films with labels.")],
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    server: Annotated[str | None, typer.Option(help="gRPC HOST:PORT.")] = None,
    repository: Annotated[Path, typer.Option()] = Path("model_repository"),
) -> None:
    """Print the table."""
    rows = [row for row in read_manifest(manifest) if split is None or row.split == split]
    with server_at(server, repository) as address, CxrClient(address, timeout_s=600) as cxr:
        model = cxr.model
        results = predict_all(cxr, [row.image for row in rows])
    truth = np.array([row.label == model.labels[1] for row in rows])
    members = np.array([[r.members[m] for m in model.members] for r in results])
    score = np.array([result.probability for result in results])
    sources = np.array([row.source or "unknown" for row in rows])

    title = f"{model.name} {model.digest[:12]}, positive: {model.labels[1]}"
    cells = [
        (name, *figures(truth, members[:, i], model.threshold))
        for i, name in enumerate(model.members)
    ]
    cells.append(("ensemble, whole set", *figures(truth, score, model.threshold)))
    for source in sorted(set(sources)):
        chosen = sources == source
        found = figures(truth[chosen], score[chosen], model.threshold)
        cells.append((f"within {source}", *found))
    columns = ("", "n", "accuracy", "sensitivity", "specificity", "AUC")
    print_table(Console(width=150), Table(title, columns, cells, [model.notice]))


if __name__ == "__main__":
    typer.run(main)
