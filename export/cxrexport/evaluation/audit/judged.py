"""The shortcut audit: did the networks learn the disease, or the hospital that the film is from?

`audit` collects the numbers; `verdict.conclude` turns them into words. Every figure is of test
films, with an interval from resampled patients (films of one patient are not independent), and
whatever is compared is compared on the same resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cxrexport.evaluation.audit.baselines import Baseline
from cxrexport.evaluation.audit.label_and_source import (
    count_sources,
    distinct,
    label_and_source,
    new_sources,
)
from cxrexport.evaluation.audit.same_source import NO_PAIRS, NO_SAME_SOURCE, Resampled, summed_up
from cxrexport.evaluation.audit.source_in_embedding import source_in_embedding
from cxrexport.evaluation.audit.tables import (
    MIN_FILMS,
    Audit,
    BaselineResult,
    HeatShare,
    Intervention,
    SourceCount,
    WithinSource,
    WithinSources,
)
from cxrexport.evaluation.blanking import INTERVENTIONS
from cxrexport.evaluation.measures import BOOTSTRAP, Interval, figures
from cxrexport.evaluation.scores import Evidence, Flags, Floats, Scores


def audit(
    evidence: Evidence,
    baselines: Sequence[Baseline],
    *,
    temperatures: Sequence[Mapping[str, float]] = (),
    network: str | None = None,
    through_lungs: bool = False,
    threshold: float = 0.5,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> Audit:
    """Audit one study.

    Args:
        evidence: scores of the test films of each trial.
        baselines: from `baselines.trivial_baselines` on the same evidence.
        temperatures: of each trial's networks, in the order of the trials; 1 where empty.
        network: audit this network; None audits the ensemble.
        through_lungs: see `Audit`.
        threshold: above which a film is called positive.
        bootstrap: resamples of patients behind each interval.
        seed: of the resamples and of the embedding's folds.

    Raises:
        ValueError: there is no test film, no network to audit, or not one entry of temperatures
            for each trial.
    """
    if temperatures and len(temperatures) != len(evidence.trials):
        raise ValueError(f"{len(temperatures)} sets of temperatures, {len(evidence.trials)} trials")
    pooled = evidence.pooled
    if not (pooled.members if network is None else network in pooled.margins):
        raise ValueError(f"no score of {network or 'any network of the ensemble'} to audit")
    judge = _Judge(evidence, temperatures, network)
    resampled = Resampled.of(evidence, bootstrap=bootstrap, seed=seed)
    drawn: dict[str, Any] = {"threshold": threshold, "bootstrap": bootstrap, "seed": seed}
    films = distinct(pooled.films)
    positives = sum(film.label == evidence.labels[1] for film in films)
    return Audit(
        labels=evidence.labels,
        judged=network or "ensemble",
        positives=positives,
        negatives=len(films) - positives,
        association=label_and_source(evidence, resampled),
        skill=_within_sources(evidence, judge.scores(), resampled, drawn),
        baselines=tuple(_baseline(one, judge.scores(), resampled.by_trial()) for one in baselines),
        embedding=source_in_embedding(evidence, bootstrap=bootstrap, seed=seed),
        interventions=tuple(_intervention(name, judge, resampled) for name in INTERVENTIONS),
        heat=tuple(_heat(label, pooled, resampled) for label in evidence.labels),
        without_lungs=_without_lungs(pooled),
        new_sources=new_sources(evidence),
        through_lungs=through_lungs,
    )


class _Judge:
    """The probabilities under audit, of the whole film or of a blanked one."""

    def __init__(
        self, evidence: Evidence, temperatures: Sequence[Mapping[str, float]], network: str | None
    ) -> None:
        self.evidence, self.pooled, self.network = evidence, evidence.pooled, network
        self.temperatures = temperatures or [{}] * len(evidence.trials)

    def scores(self, blanked: str | None = None) -> Floats:
        """[N], for the films of `Evidence.pooled`."""
        return np.concatenate(
            [
                scores.ensemble(temperatures, blanked=blanked)
                if self.network is None
                else scores.probability(
                    self.network, temperatures.get(self.network, 1.0), blanked=blanked
                )
                for scores, temperatures in zip(self._tests(), self.temperatures, strict=True)
            ]
        )

    def has(self, blanked: str) -> bool:
        """Whether every network that is judged saw the films under this intervention."""
        judged = self.pooled.members if self.network is None else (self.network,)
        return all(name in self.pooled.blanked.get(blanked, {}) for name in judged)

    def _tests(self) -> Iterable[Scores]:
        # Networks that some trial lacks are no part of the ensemble that is judged.
        for trial in self.evidence.trials:
            margins = {name: trial.test.margins[name] for name in self.pooled.margins}
            yield replace(trial.test, margins=margins)


# --- whole set and within source -------------------------------------------------------------


def _within_sources(
    evidence: Evidence, score: Floats, resampled: Resampled, drawn: Mapping[str, Any]
) -> WithinSources:
    pooled = evidence.pooled
    counts = count_sources(pooled.films, evidence.labels[1])
    whole = figures(pooled.truth, score, groups=pooled.patients, **drawn)
    auc, within = resampled.auc(score), resampled.auc_within(score)
    mixed = [count for count in counts if count.positives and count.negatives]
    positives = sum(count.positives for count in mixed)
    negatives = sum(count.negatives for count in mixed)
    return WithinSources(
        whole=replace(whole, roc_auc=summed_up(auc, NO_PAIRS)),
        each=tuple(_within_one(count, evidence, score, drawn) for count in counts),
        roc_auc=summed_up(within, NO_SAME_SOURCE),
        gap=summed_up(auc - within, NO_SAME_SOURCE),
        positives=positives,
        negatives=negatives,
        can_be_judged=min(positives, negatives) >= MIN_FILMS,
        reason=_too_few(positives, negatives, evidence.labels) if mixed else NO_SAME_SOURCE,
    )


def _within_one(
    count: SourceCount, evidence: Evidence, score: Floats, drawn: Mapping[str, Any]
) -> WithinSource:
    if not (count.positives and count.negatives):
        label = evidence.labels[int(count.positives > 0)]
        return WithinSource(count, False, None, f"every film is {label}")
    pooled = evidence.pooled
    here = _from(count.source, pooled)
    trials = (
        replace(trial, test=trial.test.take(_from(count.source, trial.test)))
        for trial in evidence.trials
    )
    of_source = replace(evidence, trials=tuple(trials))
    found = figures(pooled.truth[here], score[here], groups=pooled.patients[here], **drawn)
    resampled = Resampled.of(of_source, bootstrap=drawn["bootstrap"], seed=drawn["seed"])
    auc = resampled.auc(score[here])
    reason = _too_few(count.positives, count.negatives, evidence.labels)
    return WithinSource(
        count, reason is None, replace(found, roc_auc=summed_up(auc, NO_PAIRS)), reason
    )


def _from(source: str, scores: Scores) -> Flags:
    """Which films are from a source, [N]."""
    return np.array([film.source == source for film in scores.films], dtype=bool)


def _too_few(positives: int, negatives: int, labels: tuple[str, str]) -> str | None:
    if min(positives, negatives) >= MIN_FILMS:
        return None
    return (
        f"{positives} {labels[1]} and {negatives} {labels[0]} films: with fewer than {MIN_FILMS} "
        "of each it cannot be judged"
    )


# --- baselines and interventions -------------------------------------------------------------


def _baseline(baseline: Baseline, score: Floats, resampled: Resampled) -> BaselineResult:
    if baseline.probability is None:
        absent = Interval.undefined(baseline.reason or "absent")
        return BaselineResult(baseline.name, absent, absent, absent, absent, baseline.reason)
    theirs = resampled.auc(baseline.probability)
    within = resampled.auc_within(baseline.probability)
    return BaselineResult(
        name=baseline.name,
        roc_auc=summed_up(theirs, NO_PAIRS),
        within=summed_up(within, NO_SAME_SOURCE),
        difference=summed_up(resampled.auc(score) - theirs, NO_PAIRS),
        difference_within=summed_up(resampled.auc_within(score) - within, NO_SAME_SOURCE),
        reason=None,
    )


def _intervention(name: str, judge: _Judge, resampled: Resampled) -> Intervention:
    if not judge.has(name):
        reason = "the networks were not asked about blanked films"
        absent = Interval.undefined(reason)
        return Intervention(name, absent, absent, absent, absent, None, None, reason)
    film, blanked = judge.scores(), judge.scores(name)
    auc, within = resampled.auc(film), resampled.auc_within(film)
    auc_blanked, within_blanked = resampled.auc(blanked), resampled.auc_within(blanked)
    return Intervention(
        name=name,
        roc_auc=summed_up(auc_blanked, NO_PAIRS),
        within=summed_up(within_blanked, NO_SAME_SOURCE),
        loss=summed_up(auc - auc_blanked, NO_PAIRS),
        loss_within=summed_up(within - within_blanked, NO_SAME_SOURCE),
        kept=_kept(auc[0], auc_blanked[0]),
        kept_within=_kept(within[0], within_blanked[0]),
        reason=None,
    )


def _kept(before: float, after: float) -> float | None:
    """Share of the AUC above chance that is left; None where there was none."""
    if not before > 0.5:
        return None
    return float((after - 0.5) / (before - 0.5))


# --- heatmaps --------------------------------------------------------------------------------


def _heat(label: str, pooled: Scores, resampled: Resampled) -> HeatShare:
    inside, lungs = pooled.heat_in_lungs, pooled.lung_share
    if inside is None or lungs is None:
        absent = Interval.undefined("the heatmaps were not computed")
        return HeatShare(label, 0, 0, absent, None, absent)
    chosen = np.array([film.label == label for film in pooled.films], dtype=bool)
    there = chosen & np.isfinite(inside)
    weights = resampled.weights[:, there]
    none = "no film of this class has a heatmap"
    with np.errstate(invalid="ignore", divide="ignore"):
        share = weights @ inside[there] / weights.sum(axis=1)
        area = weights @ lungs[there] / weights.sum(axis=1)
        ratio = share / area
    return HeatShare(
        label=label,
        films=int(there.sum()),
        empty=int(chosen.sum() - there.sum()),
        inside=summed_up(share, none),
        lungs=float(area[0]) if there.any() else None,
        ratio=summed_up(ratio, "no lung was found" if there.any() else none),
    )


def _without_lungs(pooled: Scores) -> int | None:
    if pooled.lung_share is None:
        return None
    return len(distinct(pooled.take(pooled.lung_share == 0).films))
