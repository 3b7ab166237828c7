"""How far engines, or graphs that stand in for them, are from the fp32 graphs: on whole films.

The ensemble is run as Triton runs it, each side on its own lung maps, so errors add up as they
would when it is served. The reference is fp32 ONNX in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrclient.serving import Parity
from cxrexport.admission import Reference, admission_flags
from cxrexport.ensemble import Arrays, Ensemble

_LUNG = 0.5
"""LUNGS above it is lung, as it is drawn and written."""


def judge_films(
    ensemble: Ensemble,
    films: npt.NDArray[np.float32],
    reference: Reference | None,
) -> list[Arrays]:
    """Run the ensemble film by film, and the gate on what it says.

    Args:
        ensemble: what judges.
        films: float32 [n, 1, S, S] in 0..1.
        reference: of the repository's gate; None where it has none.

    Returns:
        for each film what `Ensemble.judge` returns, and FLAGS, str [k]: the gate's codes for a
        film whose header says nothing.
    """
    return [_judge(ensemble, film[None], reference) for film in films]


def _judge(
    ensemble: Ensemble, film: npt.NDArray[np.float32], reference: Reference | None
) -> Arrays:
    said = ensemble.judge(film)
    maps = film[0, 0], said["LUNGS"][0, 0], said["EMBEDDING"][0]
    flags = admission_flags((), *maps, reference)
    return {**said, "FLAGS": np.array(flags, dtype=np.str_)}


def compare(
    reference: Sequence[Arrays], found: Sequence[Arrays], threshold: float, real_films: int
) -> Parity:
    """Return the largest differences over films; a NaN anywhere stays NaN, and fails the bars.

    Args:
        reference: of the fp32 graphs, as `judge_films` returns it.
        found: of the engines, on the same films.
        threshold: above which a film is positive.
        real_films: how many of the films were taken of a person.
    """
    pairs = list(zip(reference, found, strict=True))

    def worst(name: str) -> float:
        return float(np.max([np.abs(a[name] - b[name]).max() for a, b in pairs]))

    sides = [(a["PROBABILITY"] > threshold) != (b["PROBABILITY"] > threshold) for a, b in pairs]
    return Parity(
        films=len(pairs),
        probability=worst("PROBABILITY"),
        members=worst("MEMBERS"),
        embedding_cosine=float(np.min([_cosine(a["EMBEDDING"], b["EMBEDDING"]) for a, b in pairs])),
        lungs=worst("LUNGS"),
        heatmap=worst("HEATMAP"),
        labels_changed=int(np.sum(sides)),
        lungs_dice=float(np.min([_dice(a["LUNGS"], b["LUNGS"]) for a, b in pairs])),
        flags_changed=sum(a["FLAGS"].tolist() != b["FLAGS"].tolist() for a, b in pairs),
        real_films=real_films,
    )


def _dice(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Dice coefficient of two lung maps above 0.5: 1 where both are empty; a NaN stays NaN."""
    if np.isnan(one).any() or np.isnan(other).any():
        return float("nan")
    a, b = one > _LUNG, other > _LUNG
    sizes = int(a.sum()) + int(b.sum())
    return 1.0 if sizes == 0 else 2.0 * int((a & b).sum()) / sizes


def _cosine(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Cosine of the angle between two embeddings; 1 where both are zero, 0 where one is."""
    a, b = (np.asarray(values, np.float64).ravel() for values in (one, other))
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    if lengths == 0.0:
        return float(np.array_equal(a, b))
    return float(a @ b / lengths)
