"""What an evaluation found, in the words that are served with the networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrclient.files import parse_json
from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.evaluation.audit.findings import NAMES, written
from cxrexport.evaluation.measures import Interval
from cxrexport.training.recipe import Recipe


def evidence_in_words(folder: Path, recipe: Recipe) -> str:
    """Say how well the networks of a recipe did, beside a thumbnail, and what the audit concludes.

    Args:
        folder: the output of `cxrexport evaluate` or `cxrexport study`.
        recipe: of the networks that are to be served.

    Raises:
        CheckpointError: there is no metrics.json, or it does not say these things.
        RecipeError: it is of another recipe.
    """
    path = folder / "metrics.json"
    try:
        found = parse_json(path.read_bytes())
        judged = found["facts"]["recipe digest"]
        if judged != recipe.digest:
            raise RecipeError(
                f"{path} is of another recipe ({judged[:12]}) than these networks "
                f"({recipe.digest[:12]}); give the folder of their own evaluation or study."
            )
        return _sentence(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} does not say how the networks did ({type(error).__name__}: {error}); give the "
            "folder of `cxrexport evaluate` or `cxrexport study`."
        ) from error


def _sentence(found: Mapping[str, Any]) -> str:
    comparison, verdict = found["comparison"], found["verdict"]
    rows = {row["name"]: row["pooled"] or row["over_trials"] for row in comparison["rows"]}
    ours, (negative, positive) = rows["ensemble"], found["labels"]
    films = f"{comparison['films']} films ({ours['positives']} {positive})"
    judged = f"Judged on {films} that they did not learn from"
    if (trials := len(comparison["trials"])) > 1:
        kind = "folds" if found["folds"] else "splits"
        judged = f"Networks trained alike in {trials} {kind}, judged on {films}"
    beside = ""
    if "thumbnail" in rows:
        beside = f"; {NAMES['thumbnail'].lower()} has {_auc(rows['thumbnail'])}"
    return (
        f"{judged}: ROC AUC {_auc(ours)}{beside}. {verdict['code']}: {verdict['sentence']} "
        f"They know {negative} and {positive} alone: they take any other finding for one of the "
        "two."
    )


def _auc(figures: Mapping[str, Any]) -> str:
    return written(Interval(**figures["roc_auc"]))
