"""What int8 costs: both variants' outputs on held-out films, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.measures import measure

Floats = npt.NDArray[np.float32]

LARGEST_AUC_FALL = 0.005
"""The project's own bar, for the ensemble."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What one variant says of N films.

    Attributes:
        probability: [N].
        members: [N, members], in the order of `compare`'s.
        embedding: [N, D].
        heatmap: [N, h, w] in 0..1.
    """

    probability: Floats
    members: Floats
    embedding: Floats
    heatmap: Floats


@dataclass(frozen=True)
class Accuracy:
    """int8 beside f32, on the same films.

    Attributes:
        films: N.
        positives: of them.
        auc_f32: of the ensemble; None where the films are of one class.
        auc_int8: likewise.
        members_auc_f32: backbone → its own; empty where the films are of one class.
        members_auc_int8: likewise.
        largest_difference: of the ensemble's probability.
        mean_difference: likewise.
        members_largest_difference: backbone → of its probability.
        labels_changed: films on the other side of the threshold.
        embedding_cosine_min: between a film's two embeddings.
        embedding_cosine_mean: likewise.
        heatmap_largest_drift: mean over the map of |Δ|, of the worst film; the map is in 0..1.
        heatmap_mean_drift: likewise, of all films.
    """

    films: int
    positives: int
    auc_f32: float | None
    auc_int8: float | None
    members_auc_f32: dict[str, float]
    members_auc_int8: dict[str, float]
    largest_difference: float
    mean_difference: float
    members_largest_difference: dict[str, float]
    labels_changed: int
    embedding_cosine_min: float
    embedding_cosine_mean: float
    heatmap_largest_drift: float
    heatmap_mean_drift: float

    @property
    def auc_fall(self) -> float | None:
        """By how much the ensemble's AUC is lower in int8; None where it has none."""
        if self.auc_f32 is None or self.auc_int8 is None:
            return None
        return self.auc_f32 - self.auc_int8


def compare(
    f32: Judgement,
    int8: Judgement,
    positive: Sequence[bool],
    threshold: float,
    members: Sequence[str],
) -> Accuracy:
    """Compare both variants' outputs on N films.

    Args:
        f32: of the graphs as they are.
        int8: of the quantised ones.
        positive: the truth, [N].
        threshold: a film above it is called positive.
        members: the names, in the order of the judgements' columns.
    """
    truth = np.asarray(positive, dtype=bool)
    both = 0 < truth.sum() < len(truth)
    change = np.abs(f32.probability - int8.probability)
    member_change = np.abs(f32.members - int8.members)
    flips = (f32.probability > threshold) != (int8.probability > threshold)
    cosine = _cosine(f32.embedding, int8.embedding)
    drift = np.abs(f32.heatmap - int8.heatmap).mean(axis=(1, 2))
    columns = range(len(members)) if both else range(0)
    return Accuracy(
        films=len(truth),
        positives=int(truth.sum()),
        auc_f32=_auc(truth, f32.probability) if both else None,
        auc_int8=_auc(truth, int8.probability) if both else None,
        members_auc_f32={members[i]: _auc(truth, f32.members[:, i]) for i in columns},
        members_auc_int8={members[i]: _auc(truth, int8.members[:, i]) for i in columns},
        largest_difference=float(change.max()),
        mean_difference=float(change.mean()),
        members_largest_difference={
            name: float(member_change[:, i].max()) for i, name in enumerate(members)
        },
        labels_changed=int(flips.sum()),
        embedding_cosine_min=float(cosine.min()),
        embedding_cosine_mean=float(cosine.mean()),
        heatmap_largest_drift=float(drift.max()),
        heatmap_mean_drift=float(drift.mean()),
    )


def _auc(truth: npt.NDArray[np.bool_], score: Floats) -> float:
    once = np.ones((1, len(truth)))
    area = measure(truth, score.astype(np.float64), np.zeros_like(truth), once)["roc_auc"]
    return float(area[0])


def _cosine(a: Floats, b: Floats) -> npt.NDArray[np.float64]:
    """Between rows [N, D]; 1 where both are zero, 0 where one is."""
    wide = a.astype(np.float64), b.astype(np.float64)
    norms = [np.linalg.norm(x, axis=1) for x in wide]
    dots = (wide[0] * wide[1]).sum(axis=1)
    same = (norms[0] == 0) & (norms[1] == 0)
    cosine: npt.NDArray[np.float64] = np.where(
        same, 1.0, dots / np.maximum(norms[0] * norms[1], np.finfo(np.float64).tiny)
    )
    return cosine
