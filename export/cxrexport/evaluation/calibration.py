"""Calibration: temperatures and operating points, fitted on validation films, judged on test films.

Probability = sigmoid(margin / temperature). Source: Guo et al., On calibration of modern neural
networks, ICML 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cxrexport.evaluation.intervals import BOOTSTRAP, Interval
from cxrexport.evaluation.metrics import Figures
from cxrexport.evaluation.scores import Evidence, Flags, Floats

__all__ = [
    "Calibration",
    "CalibrationStudy",
    "JudgedPoint",
    "NetworkCalibration",
    "OperatingPoint",
    "Reliability",
    "TrialCalibration",
    "calibrate",
    "fit_calibration",
    "fit_temperature",
    "reliability",
]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on the calibrated ensemble's probability, chosen on validation films.

    Attributes:
        name: for example `sensitivity 95 %`.
        rule: what was fixed.
        target: in 0..1; None for `youden`, which maximises sensitivity + specificity - 1.
        threshold: a film is called positive above it; 0 < threshold < 1, halfway between two
            neighbouring scores.
        sensitivity: on the validation films.
        specificity: likewise.
        reason: what to mind (target not reached, too few films to fix it on); None if nothing.
    """

    name: str
    rule: Literal["sensitivity", "specificity", "youden"]
    target: float | None
    threshold: float
    sensitivity: float
    specificity: float
    reason: str | None = None


@dataclass(frozen=True)
class Calibration:
    """What a run stores in `calibration.json`, and what is built into the served ensemble.

    Attributes:
        labels: negative and positive class.
        members: the ensemble's networks, whose mean the operating points are for.
        temperatures: network → divisor of its logits; every network scored, not only members.
        operating_points: in the order asked for.
        fitted_on: the split.
        films: of that split.
        positives: of them.
        flags: network → what to mind of its temperature.
    """

    labels: tuple[str, str]
    members: tuple[str, ...]
    temperatures: Mapping[str, float]
    operating_points: tuple[OperatingPoint, ...]
    fitted_on: str
    films: int
    positives: int
    flags: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Canonical JSON: the same calibration, the same text."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what `to_json` wrote.

        Raises:
            CheckpointError: not a calibration, or one with impossible values.
        """
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """Sha256 hex of the canonical JSON."""
        raise NotImplementedError

    def point(self, name: str) -> OperatingPoint | None:
        """The operating point of that name."""
        return next((point for point in self.operating_points if point.name == name), None)


@dataclass(frozen=True)
class Reliability:
    """How probabilities match frequencies, in bins of equal width over 0..1.

    Attributes:
        edges: of the bins, [bins + 1].
        counts: films in each bin.
        predicted: mean probability in each; None where it is empty.
        observed: share of positive films in each; None where it is empty.
        brier: mean squared error of the probability; its interval is over the resamples.
        ece: expected calibration error: |predicted - observed|, weighted by counts. It has no
            interval: resampling films adds noise to each bin and so inflates it.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    predicted: tuple[float | None, ...]
    observed: tuple[float | None, ...]
    brier: Interval
    ece: float


@dataclass(frozen=True)
class NetworkCalibration:
    """One network, or the ensemble, on the test films, before and after its temperature.

    Attributes:
        name: a network or `ensemble`.
        before: with temperature 1.
        after: with the temperatures fitted on the validation films.
        brier_change: after - before, paired on the same resamples; negative is better.
    """

    name: str
    before: Reliability
    after: Reliability
    brier_change: Interval


@dataclass(frozen=True)
class JudgedPoint:
    """An operating point on the test films: what it was fixed to, and what it gives."""

    point: OperatingPoint
    test: Figures


@dataclass(frozen=True)
class TrialCalibration:
    """One trial: what was fitted, and what it gives on its test films.

    Attributes:
        name: the trial's.
        calibration: None with a reason where there is nothing to fit on.
        points: operating points on the test films.
        reason: why there is none.
    """

    name: str
    calibration: Calibration | None
    points: tuple[JudgedPoint, ...]
    reason: str | None = None


@dataclass(frozen=True)
class CalibrationStudy:
    """Calibration over a study.

    Attributes:
        trials: in their order.
        networks: reliability over the test films of all calibrated trials together, each film
            with its own trial's temperatures; networks in their order, then `ensemble`.
        points: each operating point over all calibrated trials, each film called by its own
            trial's threshold (pooled where the trials are folds, else mean over the trials).
        reason: why there is nothing; None where there is.
    """

    trials: tuple[TrialCalibration, ...]
    networks: tuple[NetworkCalibration, ...]
    points: Mapping[str, Figures]
    reason: str | None = None


def fit_temperature(margin: Floats, truth: Flags) -> float:
    """The temperature under which the margins explain the truth best; bounded to 0.05..20."""
    raise NotImplementedError


def reliability(
    truth: Flags, probability: Floats, *, bins: int = 10, bootstrap: int = BOOTSTRAP, seed: int = 0
) -> Reliability:
    """The reliability curve of probabilities in 0..1, [N]."""
    raise NotImplementedError


def fit_calibration() -> Calibration:
    """See below."""
    raise NotImplementedError


def calibrate(
    evidence: Evidence,
    *,
    sensitivity: float = 0.95,
    specificity: float = 0.95,
    bins: int = 10,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> CalibrationStudy:
    """Fit each trial on its validation films, judge it on its test films."""
    raise NotImplementedError
