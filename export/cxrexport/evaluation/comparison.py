"""The study's Table 2: each network, their mean, their vote, and the differences between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.intervals import BOOTSTRAP, Interval, interval, over_trials, resamples
from cxrexport.evaluation.metrics import (
    METRICS,
    UNDEFINED,
    Bootstrapped,
    Counts,
    Figures,
    Metric,
    bootstrapped,
    difference_samples,
    majority_vote,
)
from cxrexport.evaluation.scores import COMPARISON, ENSEMBLE, Evidence, Flags, Floats, Scores

__all__ = ["VOTERS", "Comparison", "Difference", "Row", "compare"]

VOTERS = ("resnet34", "resnet50", "resnet152", "vgg16", "densenet121")
"""The networks whose majority the study's preprint takes."""
COMPARED: tuple[Metric, ...] = ("roc_auc", "accuracy")


@dataclass(frozen=True)
class Row:
    """One network, the ensemble, the vote or a baseline.

    Attributes:
        name: a network, `ensemble`, `vote`, or a baseline's name.
        members: the networks behind it; empty for a baseline.
        trials: its figures in each trial, in their order; None where the trial has not got it.
        over_trials: mean over the trials; the interval holds all resamples of all trials, and
            `counts`, `n` and `positives` are sums. With one trial, that trial's.
        over_trials_by_patient: the same, with patients resampled; None where each patient has one
            film.
        pooled: over all films at once, where the trials are folds (else None).
        pooled_by_patient: likewise; None as above.
        samples: metric → trial → value on each resample, for histograms; None where undefined.
    """

    name: str
    members: tuple[str, ...]
    trials: tuple[Figures | None, ...]
    over_trials: Figures
    over_trials_by_patient: Figures | None
    pooled: Figures | None
    pooled_by_patient: Figures | None
    samples: Mapping[str, tuple[tuple[float | None, ...], ...]]


@dataclass(frozen=True)
class Difference:
    """How much better one row is than another, paired on the same resamples.

    Attributes:
        better: name of the row that is expected to be better.
        than: name of the other; `mean of single networks` averages the members' metrics.
        metric: one of `COMPARED`.
        over_trials: mean over the trials, interval of all resamples of all trials.
        over_trials_by_patient: with patients resampled; None where each patient has one film.
        pooled: over all films at once, where the trials are folds.
        pooled_by_patient: likewise.
    """

    better: str
    than: str
    metric: str
    over_trials: Interval
    over_trials_by_patient: Interval | None
    pooled: Interval | None
    pooled_by_patient: Interval | None


@dataclass(frozen=True)
class Comparison:
    """Table 2 of a study.

    Attributes:
        trials: their names, in order.
        rows: networks in the study's order, then `ensemble` and `vote`, then baselines.
        differences: ensemble against the mean of its members and against each, with
            preprocessing against without, ensemble against each baseline.
        films: different films tested.
        patients: different patients tested.
        threshold: of every call.
        missing: row → why it is not there (or not in every trial).
    """

    trials: tuple[str, ...]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    films: int
    patients: int
    threshold: float
    missing: Mapping[str, str]

    def row(self, name: str) -> Row | None:
        """The row of that name."""
        return next((row for row in self.rows if row.name == name), None)


def compare(
    evidence: Evidence,
    *,
    baselines: Mapping[str, Sequence[Floats]] | None = None,
    threshold: float = 0.5,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> Comparison:
    """Judge every network, the ensemble, the vote and the baselines on the test films.

    Args:
        evidence: the study's trials.
        baselines: name → for each trial, the score of each of its test films, [N] in 0..1.
        threshold: above which a film is called positive.
        bootstrap: resamples of each trial, and of the pooled films.
        seed: of the resamples.
    """
    raise NotImplementedError
