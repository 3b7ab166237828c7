"""Calibration: fitted on validation films, judged on test films.

Probability = sigmoid(margin / temperature). What is fitted (`Calibration`) is what a run stores in
`calibration.json` and what is built into the served ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrexport.evaluation.calibration.fitted import Calibration, fit_calibration, in_order
from cxrexport.evaluation.calibration.operating_points import OperatingPoint
from cxrexport.evaluation.calibration.reliability import (
    BINS,
    Reliability,
    brier_change,
    reliability,
)
from cxrexport.evaluation.calibration.temperature import fit_temperature
from cxrexport.evaluation.measures import (
    BOOTSTRAP,
    Calls,
    Figures,
    Interval,
    calls_by_score,
    judge,
    judge_study,
    trial_seed,
)
from cxrexport.evaluation.scores import Evidence, Floats, Scores

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
    """An operating point on the test films: what it was fixed to, and what it gives there."""

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
            with its own trial's temperatures; the networks that all these trials trained, in their
            order, then `ensemble`. Patients are resampled.
        even: the calibrated ensemble's figures at the threshold 0.5; None where there is none.
        points: operating point → the calibrated ensemble's figures, each film called by its own
            trial's threshold (pooled where the trials are folds, else the mean over the trials).
        reason: why there is nothing; None where there is.
    """

    trials: tuple[TrialCalibration, ...]
    networks: tuple[NetworkCalibration, ...]
    even: Figures | None
    points: Mapping[str, Figures]
    reason: str | None = None


def calibrate(
    evidence: Evidence,
    *,
    sensitivity: float | None = 0.95,
    specificity: float | None = 0.95,
    youden: bool = False,
    bins: int = BINS,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> CalibrationStudy:
    """Fit each trial on its validation films, judge it on its test films.

    Args:
        evidence: the study's trials; one without validation films is left out, with the reason.
        sensitivity: of an operating point, in 0..1; None for none.
        specificity: likewise.
        youden: whether there is one with the best sum of both.
        bins: of the reliability curves.
        bootstrap: resamples.
        seed: of the resamples.
    """
    fitted: list[_Fitted] = []
    trials: list[TrialCalibration] = []
    for i, trial in enumerate(evidence.trials):
        validation, reason = trial.validation, _why_not(trial.validation)
        if validation is None or reason:
            trials.append(TrialCalibration(trial.name, None, (), reason))
            continue
        found = fit_calibration(
            validation, sensitivity=sensitivity, specificity=specificity, youden=youden
        )
        each = [
            judge(_calls(trial.test, found, point), bootstrap=bootstrap, seed=trial_seed(seed, i))
            for point in found.operating_points
        ]
        points = zip(found.operating_points, each, strict=True)
        judged = tuple(JudgedPoint(point, test.figures) for point, test in points)
        trials.append(TrialCalibration(trial.name, found, judged))
        fitted.append((trial.test, found))
    if not fitted:
        return CalibrationStudy(tuple(trials), (), None, {}, trials[0].reason)

    def over_study(name: str | None) -> Figures | None:
        parts = [
            _calls(test, found, found.point(name) if name else None)
            for test, found in fitted
            if test.members
        ]
        if not parts:
            return None
        return judge_study(parts, folds=evidence.folds, bootstrap=bootstrap, seed=seed)

    names = {point.name: None for _, found in fitted for point in found.operating_points}
    points_over_study = {name: over_study(name) for name in names}
    return CalibrationStudy(
        trials=tuple(trials),
        networks=_networks(fitted, bins, bootstrap, seed),
        even=over_study(None),
        points={name: found for name, found in points_over_study.items() if found},
    )


_Fitted = tuple[Scores, Calibration]
"""A trial's test films, and what was fitted on its validation films."""


def _why_not(validation: Scores | None) -> str | None:
    if validation is None or not len(validation):
        return "no validation films were scored"
    if validation.truth.all() or not validation.truth.any():
        return "the validation films are of one class only"
    return None


def _calls(test: Scores, found: Calibration, point: OperatingPoint | None) -> Calls:
    threshold = point.threshold if point else 0.5
    return calls_by_score(test, test.ensemble(found.in_ensemble), threshold)


def _networks(
    fitted: Sequence[_Fitted], bins: int, bootstrap: int, seed: int
) -> tuple[NetworkCalibration, ...]:
    first = fitted[0][0]
    truth = np.concatenate([test.truth for test, _ in fitted])
    groups = np.concatenate([test.patients for test, _ in fitted])
    drawn = {"bootstrap": bootstrap, "seed": seed}

    def network(name: str, before: list[Floats], after: list[Floats]) -> NetworkCalibration:
        b, a = np.concatenate(before), np.concatenate(after)
        return NetworkCalibration(
            name=name,
            before=reliability(truth, b, bins=bins, groups=groups, **drawn),
            after=reliability(truth, a, bins=bins, groups=groups, **drawn),
            brier_change=brier_change(truth, b, a, groups=groups, **drawn),
        )

    rows = [
        network(
            name,
            [test.probability(name) for test, _ in fitted],
            [test.probability(name, found.temperatures.get(name, 1.0)) for test, found in fitted],
        )
        for name in in_order(first.margins)
        if all(name in test.margins for test, _ in fitted)
    ]
    if all(test.members for test, _ in fitted):
        before = [test.ensemble() for test, _ in fitted]
        after = [test.ensemble(found.in_ensemble) for test, found in fitted]
        rows.append(network("ensemble", before, after))
    return tuple(rows)
