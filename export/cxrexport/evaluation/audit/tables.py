"""The tables of the shortcut audit: plain numbers, for the verdict, the figures and the report.

Where there is no value, the interval is empty and says why.
"""

from __future__ import annotations

from dataclasses import dataclass

from cxrexport.evaluation.measures import Figures, Interval

MIN_FILMS = 30
"""Films of each class below which a group cannot be judged."""
BLANKED_TOO = ("no_lungs", "only_border")
"""The interventions that hide the lungs, and their map with them."""


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
            None with fewer than two sources or classes.
        roc_auc: of predicting the label of test films from nothing but their source, the share of
            positives of each source learnt on the trial's other films; over pairs of films of the
            same trial.
        reason: why there is no value.
    """

    sources: tuple[SourceCount, ...]
    unstated: int
    cramers_v: float | None
    roc_auc: Interval
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
        whole: the ensemble on all test films. Over random splits, where a film is tested more than
            once, its AUC compares films of the same split only, and so does every AUC here.
        each: one entry a source.
        roc_auc: chance that of a positive and a negative film *of the same source* the positive
            one gets the higher probability, over all such pairs.
        gap: whole AUC minus that one, on the same resamples.
        positives: films in sources that have both labels.
        negatives: likewise.
        can_be_judged: at least MIN_FILMS of each.
        reason: why not.
    """

    whole: Figures
    each: tuple[WithinSource, ...]
    roc_auc: Interval
    gap: Interval
    positives: int
    negatives: int
    can_be_judged: bool
    reason: str | None


@dataclass(frozen=True)
class BaselineResult:
    """A trivial baseline beside the ensemble, both over pairs of films of the same trial.

    So the difference is not that of this AUC to `WithinSources.whole`, which over folds compares
    films of all trials (`same_source.Resampled.by_trial` says why).

    Attributes:
        name: `thumbnail`, `aspect_ratio`, `view` or `age`.
        roc_auc: on all test films.
        within: over pairs of the same source.
        difference: the ensemble's AUC minus the baseline's, same resamples.
        difference_within: likewise over pairs of the same source.
        reason: why the baseline is absent.
    """

    name: str
    roc_auc: Interval
    within: Interval
    difference: Interval
    difference_within: Interval
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
    """

    films: str
    trials: int
    roc_auc: Interval


@dataclass(frozen=True)
class Intervention:
    """The ensemble on films with a part blanked out.

    Attributes:
        name: a key of `blanking.INTERVENTIONS`.
        roc_auc: on all test films.
        within: over pairs of the same source.
        loss: AUC of the whole film minus that of the blanked one, same films, same resamples.
        loss_within: likewise over pairs of the same source.
        kept: share of the AUC above 0.5 that is left; None where there was none, or no value.
        kept_within: likewise over pairs of the same source.
        reason: why there is no value.
    """

    name: str
    roc_auc: Interval
    within: Interval
    loss: Interval
    loss_within: Interval
    kept: float | None
    kept_within: float | None
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
    """

    label: str
    films: int
    empty: int
    inside: Interval
    lungs: float | None
    ratio: Interval


@dataclass(frozen=True)
class Audit:
    """Everything that the verdict is made of.

    Attributes:
        labels: negative and positive class.
        judged: `ensemble`, or the network that was audited.
        positives: test films of the positive class, each counted once.
        negatives: likewise.
        association: label and source.
        skill: whole set and within source.
        baselines: thumbnail, aspect ratio, view, age.
        embedding: all films, then each label.
        interventions: in the order of `blanking.INTERVENTIONS`.
        heat: the negative, then the positive films.
        without_lungs: test films in which no lung was found, so that blanking them says nothing;
            None where it is not known.
        new_sources: sources of test films of which the networks saw no other film; None where it
            is not known what they learnt from.
        through_lungs: whether the networks pool over the lung map alone. With an empty map they
            pool over the whole film, as they never do in use; so what counts is the blanked film
            with its map kept.
    """

    labels: tuple[str, str]
    judged: str
    positives: int
    negatives: int
    association: Association
    skill: WithinSources
    baselines: tuple[BaselineResult, ...]
    embedding: tuple[SourceInEmbedding, ...]
    interventions: tuple[Intervention, ...]
    heat: tuple[HeatShare, ...]
    without_lungs: int | None
    new_sources: tuple[str, ...] | None
    through_lungs: bool = False

    @property
    def without_lungs_counted(self) -> tuple[str, str]:
        """The interventions that the verdict counts: lungs blanked, and only a frame kept."""
        no_lungs, only_border = BLANKED_TOO
        kept = "_map_kept" if self.through_lungs else ""
        return no_lungs + kept, only_border + kept
