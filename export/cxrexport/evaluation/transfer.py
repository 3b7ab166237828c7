"""How networks do at a hospital that they never saw, and what a few of its films mend.

Three things can be lost on the way to another hospital: the order of the films (ROC AUC), the
threshold, and the meaning of a probability. The last two can be mended with films of the new
hospital whose truth is known; the first cannot. Twenty films are what a reader can go through in an
afternoon. They are drawn many times, and no patient of theirs is among those judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrexport.evaluation.audit import Baseline
from cxrexport.evaluation.calibration import (
    choose_threshold,
    fit_calibration,
    fit_shift,
    point_name,
)
from cxrexport.evaluation.measures import (
    BOOTSTRAP,
    Figures,
    Interval,
    figures,
    interval,
    trial_seed,
)
from cxrexport.evaluation.scores import Evidence, Flags, Floats, Scores, Trial, log_odds, sigmoid

FILMS = 20
"""Films of the new hospital that mend."""
DRAWS = 200
"""How often they are drawn."""
SPECIFICITY = 0.90
"""What a threshold is to keep; the study's tables give sensitivity and specificity beside it."""
_TRIES = 20
"""Draws in vain (one class only) for each that counts, before it is given up."""


@dataclass(frozen=True)
class AtThreshold:
    """What a threshold gives at the new source.

    Attributes:
        name: what the threshold was chosen for, for example `specificity 90 %`, or `0.5`.
        threshold: on the calibrated probability; None where each draw has its own.
        chosen_on: where and what it gave there, in words; None for `0.5`.
        sensitivity: at the new source.
        specificity: likewise.
    """

    name: str
    threshold: float | None
    chosen_on: str | None
    sensitivity: Interval
    specificity: Interval


@dataclass(frozen=True)
class Mended:
    """What `films` films of the new source mend; values are medians over the draws.

    The intervals hold the middle 95 % of the draws: how much depends on which films were drawn.

    Attributes:
        films: drawn each time.
        draws: how often.
        recalibrated: the threshold stays; the log odds are shifted by what the drawn films ask for.
        chosen_anew: the threshold is chosen on the drawn films alone.
        brier_before: mean squared error of the probability as it travels, on the judged films.
        brier_after: after the shift.
    """

    films: int
    draws: int
    recalibrated: AtThreshold
    chosen_anew: AtThreshold
    brier_before: Interval
    brier_after: Interval


@dataclass(frozen=True)
class Transfer:
    """One source, judged by networks that learnt from no film of it.

    Attributes:
        trial: the trial that tested it.
        source: that was left out.
        learnt_from: the other sources.
        films: of the source.
        patients: likewise.
        positives: films of the positive class.
        roc_auc: `ensemble`, each network and each trivial baseline that is there → its ROC AUC on
            the source; patients are resampled.
        travels: thresholds chosen on the validation films of the other sources, and 0.5.
        own: the threshold that keeps the wanted specificity on the source's own films: what no
            hospital knows beforehand. None without calibration.
        mended: what a few films mend; None with a reason.
        reason: why something is None.
    """

    trial: str
    source: str
    learnt_from: tuple[str, ...]
    films: int
    patients: int
    positives: int
    roc_auc: Mapping[str, Interval]
    travels: tuple[AtThreshold, ...]
    own: AtThreshold | None
    mended: Mended | None
    reason: str | None


def transfers(
    evidence: Evidence,
    baselines: Sequence[Baseline] = (),
    *,
    films: int = FILMS,
    draws: int = DRAWS,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> tuple[Transfer, ...]:
    """Judge every trial whose test films are of one source that it did not learn from.

    Args:
        evidence: the trials; others are left out.
        baselines: of the same evidence.
        films: of the new source that mend.
        draws: of those films.
        bootstrap: resamples of patients behind each interval.
        seed: of the resamples and of the draws.
    """
    ends = np.cumsum([len(trial.test) for trial in evidence.trials])
    found = []
    for i, (trial, end) in enumerate(zip(evidence.trials, ends, strict=True)):
        if (source := _left_out(trial)) is None or not trial.test.members:
            continue
        said = {
            baseline.name: baseline.probability[end - len(trial.test) : end]
            for baseline in baselines
            if baseline.probability is not None
        }
        judge = _Judge(trial.test, bootstrap, trial_seed(seed, i))
        found.append(_transfer(trial, source, said, judge, films, draws))
    return tuple(found)


def _left_out(trial: Trial) -> str | None:
    """The one source of the test films, where the networks learnt from others only."""
    tested = {film.source for film in trial.test.films}
    if len(tested) > 1 or trial.train is None:
        return None
    (source,) = tested
    return None if source is None or source in _learnt_from(trial) else source


def _learnt_from(trial: Trial) -> tuple[str, ...]:
    sides = [side for side in (trial.train, trial.validation) if side is not None]
    return tuple(sorted({film.source or "not stated" for side in sides for film in side.films}))


@dataclass(frozen=True, eq=False)
class _Judge:
    """The films of the new source, and how they are resampled."""

    test: Scores
    bootstrap: int
    seed: tuple[int, int]

    def auc(self, probability: Floats) -> Interval:
        return self._figures(probability, 0.5).roc_auc

    def at(
        self, name: str, threshold: float, chosen_on: str | None, probability: Floats
    ) -> AtThreshold:
        found = self._figures(probability, threshold)
        return AtThreshold(name, threshold, chosen_on, found.sensitivity, found.specificity)

    def _figures(self, probability: Floats, threshold: float) -> Figures:
        return figures(
            self.test.truth,
            probability,
            threshold=threshold,
            bootstrap=self.bootstrap,
            seed=self.seed,
            groups=self.test.patients,
        )


def _transfer(
    trial: Trial, source: str, said: Mapping[str, Floats], judge: _Judge, films: int, draws: int
) -> Transfer:
    test = trial.test
    networks = {name: test.probability(name) for name in test.margins}
    each = {"ensemble": test.ensemble(), **networks, **said}
    travels = [judge.at("0.5", 0.5, None, test.ensemble())]
    own = mended = None
    reason = _one_class(test) or _one_class(trial.validation)
    if reason is None:
        assert trial.validation is not None  # noqa: S101  # it would be a reason
        found = fit_calibration(trial.validation, sensitivity=SPECIFICITY, specificity=SPECIFICITY)
        probability = test.ensemble(found.in_ensemble)
        where = f"{found.films} validation films of {', '.join(_learnt_from(trial))}"
        for point in found.operating_points:
            gave = f"{point.sensitivity:.0%} sensitivity, {point.specificity:.0%} specificity"
            travels.append(judge.at(point.name, point.threshold, f"{where}: {gave}", probability))
        best = choose_threshold(test.truth, probability, "specificity", SPECIFICITY)
        own = judge.at(best.name, best.threshold, f"all {len(test)} films of {source}", probability)
        drawn = list(_drawn(test, films, draws, judge.seed)) if len(test) >= 2 * films else []
        if len(drawn) < draws or not drawn:
            reason = f"{len(test)} films are too few to draw {films} of both classes from them"
        else:
            mended = _mended(test, probability, found.operating_points[1].threshold, drawn)
    return Transfer(
        trial=trial.name,
        source=source,
        learnt_from=_learnt_from(trial),
        films=len(test),
        patients=len(set(test.patients)),
        positives=int(test.truth.sum()),
        roc_auc={name: judge.auc(score) for name, score in each.items()},
        travels=tuple(travels),
        own=own,
        mended=mended,
        reason=reason,
    )


def _one_class(scores: Scores | None) -> str | None:
    if scores is None or not len(scores):
        return "no validation films were scored"
    if scores.truth.all() or not scores.truth.any():
        return f"all of {len(scores)} films are {scores.films[0].label}"
    return None


_Draw = tuple[Flags, Flags]
"""Which films mend, which are judged, [N] each; some of neither: the drawn patients' others."""


def _drawn(test: Scores, films: int, draws: int, seed: tuple[int, int]) -> Iterator[_Draw]:
    """Draw films patient by patient, both classes on both sides; fewer draws where they cannot."""
    random = np.random.default_rng(seed)
    truth, patients = test.truth, test.patients
    names = np.unique(patients)  # sorted: the manifest's order does not matter
    made = 0
    for _ in range(draws * _TRIES):
        if made == draws:
            return
        order = {name: place for place, name in enumerate(random.permutation(names))}
        place = np.array([order[patient] for patient in patients])
        chosen = np.argsort(place, kind="stable")[:films]
        mends = np.zeros(len(test), dtype=bool)
        mends[chosen] = True
        judged = place > place[chosen].max()
        if all(truth[side].any() and not truth[side].all() for side in (mends, judged)):
            made += 1
            yield mends, judged


def _mended(test: Scores, probability: Floats, threshold: float, drawn: Sequence[_Draw]) -> Mended:
    odds, truth = log_odds(probability), test.truth
    shifted = [sigmoid(odds + fit_shift(odds[mends], truth[mends])) for mends, _ in drawn]
    anew = [
        choose_threshold(truth[mends], probability[mends], "specificity", SPECIFICITY).threshold
        for mends, _ in drawn
    ]
    films = int(drawn[0][0].sum())

    def over_draws(value: Callable[[int, Flags], float]) -> Interval:
        values = np.array([value(i, judged) for i, (_, judged) in enumerate(drawn)])
        return interval(float(np.median(values)), values)

    def at(chosen_on: str, threshold: float | None, called: Callable[[int], Flags]) -> AtThreshold:
        return AtThreshold(
            name=point_name("specificity", SPECIFICITY),
            threshold=threshold,
            chosen_on=chosen_on,
            sensitivity=over_draws(lambda i, judged: float(called(i)[judged & truth].mean())),
            specificity=over_draws(lambda i, judged: float(1 - called(i)[judged & ~truth].mean())),
        )

    return Mended(
        films=films,
        draws=len(drawn),
        recalibrated=at(
            f"the other sources, log odds shifted by {films} films",
            threshold,
            lambda i: shifted[i] > threshold,
        ),
        chosen_anew=at(f"{films} films", None, lambda i: probability > anew[i]),
        brier_before=over_draws(
            lambda _, judged: float(((probability - truth)[judged] ** 2).mean())
        ),
        brier_after=over_draws(lambda i, judged: float(((shifted[i] - truth)[judged] ** 2).mean())),
    )
