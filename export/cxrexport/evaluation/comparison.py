"""The study's Table 2: each network, their mean, their vote, and the differences between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrexport.evaluation.audit import Baseline
from cxrexport.evaluation.measures import (
    BOOTSTRAP,
    STUDY_BOOTSTRAP,
    Calls,
    Difference,
    Figures,
    JudgedRow,
    Metric,
    bootstrapped,
    calls_by_score,
    differences,
    figures_over_trials,
    judge_row,
    majority_vote,
    pool,
)
from cxrexport.evaluation.scores import COMPARISON, Evidence, Scores

__all__ = ["VOTERS", "Comparison", "Difference", "Row", "compare"]

VOTERS = ("resnet34", "resnet50", "resnet152", "vgg16", "densenet121")
"""The networks whose majority the study's preprint takes; members that it has not vote too."""
HISTOGRAMS: tuple[Metric, ...] = (
    "accuracy",
    "sensitivity",
    "specificity",
    "roc_auc",
    "pr_auc",
)


@dataclass(frozen=True)
class Row:
    """One network, the ensemble, the vote or a baseline.

    Attributes:
        name: a network, `ensemble`, `vote`, or a baseline's name.
        members: the networks behind it; empty for a baseline.
        trials: its figures in each trial, in their order; None where the trial has not got it.
        over_trials: mean over the trials; the interval holds all resamples of all trials, and
            `counts`, `n` and `positives` are sums. With one trial, that trial's.
        pooled: over all films at once, where the trials are folds (else None).
        samples: metric → trial → value on each resample, for histograms; None where undefined.
            Of the ensemble alone, else empty.
    """

    name: str
    members: tuple[str, ...]
    trials: tuple[Figures | None, ...]
    over_trials: Figures
    pooled: Figures | None
    samples: Mapping[str, tuple[tuple[float | None, ...], ...]]


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
        best_single: the single network of the highest ROC AUC; None without any. It is chosen on
            the test films themselves, so its own figure is a little too good, and the ensemble's
            difference to it a little too small.
        as_study: the ensemble's figures with intervals as the study's: percentiles of 100 resamples
            of films. None where trials are not folds, and without an ensemble.
    """

    trials: tuple[str, ...]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    films: int
    patients: int
    threshold: float
    missing: Mapping[str, str]
    best_single: str | None = None
    as_study: Figures | None = None

    def row(self, name: str) -> Row | None:
        """The row of that name."""
        return next((row for row in self.rows if row.name == name), None)


def compare(
    evidence: Evidence,
    *,
    baselines: Sequence[Baseline] = (),
    threshold: float = 0.5,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> Comparison:
    """Judge every network, the ensemble, the vote and the baselines on the test films.

    Args:
        evidence: the study's trials; temperatures are 1, as in the study.
        baselines: of the same evidence.
        threshold: above which a film is called positive.
        bootstrap: resamples of each trial, and of the pooled films.
        seed: of the resamples; every row has the same resamples.
    """
    calls = {
        **_calls(evidence, threshold),
        **_baseline_calls(evidence, baselines, threshold),
    }
    tested = evidence.pooled

    judged = {
        name: judge_row(parts, folds=evidence.folds, bootstrap=bootstrap, seed=seed)
        for name, parts in calls.items()
    }
    each_once = evidence.folds or len(evidence.trials) == 1
    once = _once(calls) if each_once else {}
    members = {name: _members(name, evidence) for name in calls}
    absent = {b.name: b.reason or "not measured" for b in baselines if b.probability is None}
    rows = tuple(_row(name, members[name], judged[name]) for name in calls)
    return Comparison(
        trials=tuple(trial.name for trial in evidence.trials),
        rows=rows,
        differences=differences(
            judged, once, members.get("ensemble", ()), [b.name for b in baselines]
        ),
        films=len({film.image for film in tested.films}),
        patients=len(set(tested.patients)),
        threshold=threshold,
        missing={**_missing(evidence), **absent},
        best_single=_best(row for row in rows if row.members == (row.name,)),
        as_study=_as_study(once["ensemble"], seed) if "ensemble" in once else None,
    )


# --- who calls what ------------------------------------------------------------------------------


def _networks(evidence: Evidence) -> list[str]:
    """Networks of any trial: the study's in its order, then others by name."""
    there = {name for trial in evidence.trials for name in trial.test.margins}
    return [*(n for n in COMPARISON if n in there), *sorted(there.difference(COMPARISON))]


def _members(name: str, evidence: Evidence) -> tuple[str, ...]:
    networks = _networks(evidence)
    return tuple(network for network in _together(name, evidence) if network in networks)


def _together(name: str, evidence: Evidence) -> tuple[str, ...]:
    """The networks that a row stands for, trained or not."""
    listed = evidence.trials[0].test.listed
    voters = (*VOTERS, *(member for member in listed if member not in VOTERS))
    return {"ensemble": listed, "vote": voters}.get(name, (name,))


def _calls(evidence: Evidence, threshold: float) -> dict[str, list[Calls | None]]:
    """Row → trial → its calls, None where the trial trained none of its networks."""

    def of_network(test: Scores, network: str) -> Calls | None:
        if network not in test.margins:
            return None
        return calls_by_score(test, test.probability(network), threshold)

    def of_ensemble(test: Scores) -> Calls | None:
        return calls_by_score(test, test.ensemble(), threshold) if test.members else None

    def of_vote(test: Scores) -> Calls | None:
        together = _together("vote", evidence)
        voters = [test.probability(name) for name in together if name in test.margins]
        if not voters:
            return None
        vote = majority_vote(np.stack(voters), threshold)
        return Calls(test.truth, None, vote, test.patients, threshold)

    tests = [trial.test for trial in evidence.trials]
    rows = {name: [of_network(test, name) for test in tests] for name in _networks(evidence)}
    rows["ensemble"] = [of_ensemble(test) for test in tests]
    rows["vote"] = [of_vote(test) for test in tests]
    return {name: parts for name, parts in rows.items() if any(parts)}


def _baseline_calls(
    evidence: Evidence, baselines: Sequence[Baseline], threshold: float
) -> dict[str, list[Calls | None]]:
    ends = np.cumsum([len(trial.test) for trial in evidence.trials])[:-1]
    return {
        baseline.name: [
            calls_by_score(trial.test, probability, threshold)
            for trial, probability in zip(
                evidence.trials, np.split(baseline.probability, ends), strict=True
            )
        ]
        for baseline in baselines
        if baseline.probability is not None
    }


def _missing(evidence: Evidence) -> dict[str, str]:
    missing: dict[str, str] = {}
    for row in (*COMPARISON, "ensemble", "vote"):
        networks = _together(row, evidence)
        without: dict[tuple[str, ...], list[str]] = {}
        for trial in evidence.trials:
            lacking = tuple(name for name in networks if name not in trial.test.margins)
            if lacking:
                without.setdefault(lacking, []).append(trial.name)
        if without:
            missing[row] = "; ".join(
                f"{', '.join(lacking)} not trained"
                + ("" if len(names) == len(evidence.trials) else f" in {', '.join(names)}")
                for lacking, names in without.items()
            )
    return missing


def _best(singles: Iterable[Row]) -> str | None:
    """The network of the highest ROC AUC, the first of equals."""
    aucs = {row.name: (row.pooled or row.over_trials).roc_auc.value for row in singles}
    known = {name: value for name, value in aucs.items() if value is not None}
    return max(known, key=known.__getitem__, default=None)


# --- figures -------------------------------------------------------------------------------------


def _once(calls: Mapping[str, Sequence[Calls | None]]) -> dict[str, Calls]:
    """Row → its calls of all trials, one after the other, of rows that every trial has."""
    whole = {name: [part for part in parts if part] for name, parts in calls.items()}
    return {name: pool(whole[name]) for name in calls if len(whole[name]) == len(calls[name])}


def _as_study(calls: Calls, seed: int) -> Figures:
    return bootstrapped(
        calls.truth,
        calls.probability,
        called=calls.called,
        threshold=calls.threshold,
        bootstrap=STUDY_BOOTSTRAP,
        seed=seed,
        exact=False,
    ).figures


def _row(name: str, members: tuple[str, ...], judged: JudgedRow) -> Row:
    def samples(metric: Metric) -> tuple[tuple[float | None, ...], ...]:
        return tuple(
            tuple(float(v) if np.isfinite(v) else None for v in trial.samples[metric])
            if trial
            else ()
            for trial in judged.trials
        )

    return Row(
        name=name,
        members=members,
        trials=tuple(trial.figures if trial else None for trial in judged.trials),
        over_trials=figures_over_trials(judged.there),
        pooled=judged.pooled.figures if judged.pooled else None,
        samples={metric: samples(metric) for metric in HISTOGRAMS if name == "ensemble"},
    )
