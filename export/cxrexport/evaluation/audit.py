"""The shortcut audit: did the networks learn the disease, or the hospital that the film is from?

`audit` collects the numbers; `verdict.conclude` turns them into words. Every figure is of test
films, with an interval from resampled patients (films of one patient are not independent).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrexport.evaluation.baselines import Baseline
from cxrexport.evaluation.metrics import Figures, Interval
from cxrexport.evaluation.scores import Evidence

__all__ = [
    "MIN_FILMS",
    "Association",
    "Audit",
    "BaselineResult",
    "HeatShare",
    "Intervention",
    "SourceCount",
    "SourceInEmbedding",
    "WithinSource",
    "WithinSources",
    "audit",
]

MIN_FILMS = 30
"""Films of each class below which a group cannot be judged."""


@dataclass(frozen=True)
class SourceCount:
    """The test films of one source; each film counted once, however often it was tested."""

    source: str
    films: int
    patients: int
    positives: int
    negatives: int


@dataclass(frozen=True)
class Association:
    """How far the source alone gives the label away.

    Attributes:
        sources: counts, in the order of their names.
        unstated: films whose source the manifest does not state; in no within-source figure.
        cramers_v: Cramér's V of label and source, 0 (independent) to 1 (one settles the other);
            None with fewer than two sources.
        source_auc: AUC of predicting the label of test films from nothing but their source, the
            share of positives of each source learnt on the trial's other films; None likewise.
        reason: why there is no value.
    """

    sources: tuple[SourceCount, ...]
    unstated: int
    cramers_v: float | None
    source_auc: Interval | None
    reason: str | None


@dataclass(frozen=True)
class WithinSource:
    """The ensemble within one source.

    Attributes:
        count: its films.
        can_be_judged: at least MIN_FILMS films of each class.
        figures: None where the source has one class only.
        reason: why it cannot be judged, or why there are no figures.
    """

    count: SourceCount
    can_be_judged: bool
    figures: Figures | None
    reason: str | None


@dataclass(frozen=True)
class WithinSources:
    """The whole set's figure beside the one that no source can explain.

    Attributes:
        whole: the ensemble on all test films.
        each: one entry a source.
        roc_auc: chance that of a positive and a negative film *of the same source* the positive
            one gets the higher probability, over all such pairs; None where no source has both.
        gap: whole AUC minus that one, on the same resamples.
        positives: films in sources that have both labels.
        negatives: likewise.
        can_be_judged: at least MIN_FILMS of each.
        reason: why not.
    """

    whole: Figures
    each: tuple[WithinSource, ...]
    roc_auc: Interval | None
    gap: Interval | None
    positives: int
    negatives: int
    can_be_judged: bool
    reason: str | None


@dataclass(frozen=True)
class BaselineResult:
    """A trivial baseline beside the ensemble.

    Attributes:
        name: `thumbnail`, `aspect_ratio`, `view` or `age`.
        roc_auc: on all test films; None where the baseline is absent.
        within: over pairs of the same source.
        difference: the ensemble's AUC minus the baseline's, same resamples.
        difference_within: likewise over pairs of the same source.
        reason: why the baseline is absent.
    """

    name: str
    roc_auc: Interval | None
    within: Interval | None
    difference: Interval | None
    difference_within: Interval | None
    reason: str | None


@dataclass(frozen=True)
class SourceInEmbedding:
    """Can the source be read off the embedding?

    Attributes:
        films: `all`, or the label that the question was asked within. Where label and source go
            together, an embedding that separates the labels separates the sources: only the
            answer within a label is the source's own.
        trials: trials that had enough films.
        roc_auc: mean over trials of the macro one-against-rest AUC of a logistic regression on
            the test films' embeddings, by patient-wise cross-validation; 0.5 is chance.
        reason: why there is no value.
    """

    films: str
    trials: int
    roc_auc: Interval | None
    reason: str | None


@dataclass(frozen=True)
class Intervention:
    """The ensemble on films with a part blanked out.

    Attributes:
        name: `no_lungs`, `only_lungs` or `only_border`.
        roc_auc: on all test films.
        within: over pairs of the same source.
        loss: AUC of the whole film minus that of the blanked one, same films, same resamples.
        loss_within: likewise over pairs of the same source.
        kept: share of the AUC above 0.5 that is left; of `within` where that exists.
        reason: why there is no value.
    """

    name: str
    roc_auc: Interval | None
    within: Interval | None
    loss: Interval | None
    loss_within: Interval | None
    kept: float | None
    reason: str | None


@dataclass(frozen=True)
class HeatShare:
    """Where the heatmap lies.

    Attributes:
        label: true class of the films.
        films: with a heatmap that is not empty.
        empty: films whose heatmap is empty: nothing spoke for the positive class.
        inside: mean share of the heatmap inside the lungs.
        lungs: mean share of the network's input that is lung.
        ratio: inside / lungs; 1 is a heatmap that takes no notice of the lungs.
        reason: why there is no value.
    """

    label: str
    films: int
    empty: int
    inside: Interval | None
    lungs: float | None
    ratio: Interval | None
    reason: str | None


@dataclass(frozen=True)
class Audit:
    """Everything that the verdict is made of.

    Attributes:
        labels: negative and positive class.
        judged: `ensemble`, or the network that was audited.
        association: label and source.
        skill: whole set and within source.
        baselines: thumbnail, aspect ratio, view, age.
        embedding: all films, then each label.
        interventions: no_lungs, only_lungs, only_border.
        heat: the negative, then the positive films.
    """

    labels: tuple[str, str]
    judged: str
    association: Association
    skill: WithinSources
    baselines: tuple[BaselineResult, ...]
    embedding: tuple[SourceInEmbedding, ...]
    interventions: tuple[Intervention, ...]
    heat: tuple[HeatShare, ...]


def audit(
    evidence: Evidence,
    baselines: Sequence[Baseline],
    *,
    temperatures: Sequence[Mapping[str, float]] = (),
    network: str | None = None,
    bootstrap: int = 100,
    seed: int = 0,
) -> Audit:
    """Audit one study.

    Args:
        evidence: scores of the test films of each trial.
        baselines: from `baselines.trivial_baselines` on the same evidence.
        temperatures: of each trial's networks, in the order of the trials; 1 where empty.
        network: audit this network; None audits the ensemble.
        bootstrap: resamples of patients behind each interval.
        seed: of the resamples and of the embedding's folds.
    """
    raise NotImplementedError
