"""ROC AUC over pairs of films that are alike in what must not decide: the source, the trial.

An AUC is the share of pairs of a positive and a negative film in which the positive one scores
higher. Counting only pairs of the same source takes from it all that the source alone could earn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.measures import Interval, interval, measure, resamples
from cxrexport.evaluation.scores import Evidence, Flags, Floats

Strata = npt.NDArray[np.int_]

NO_PAIRS = "no positive and negative film to compare"
NO_SAME_SOURCE = "no source has films of both classes"


def pair_auc(truth: Flags, score: Floats, strata: Strata, weights: Floats) -> Floats:
    """Share of pairs (positive, negative) of the same stratum that are in the right order.

    Source: the stratified Mann–Whitney statistic, each stratum weighted by its pairs.

    Args:
        truth: whether each film is positive, [N].
        score: of each film, [N]; ties count half.
        strata: of each film, [N]; films of a negative number are in no pair.
        weights: how often each film counts, [B, N].

    Returns:
        [B], NaN where there is no pair.
    """
    right = np.zeros(len(weights))
    pairs = np.zeros(len(weights))
    for stratum in np.unique(strata[strata >= 0]):
        here = strata == stratum
        positive, weight = truth[here], weights[:, here]
        possible = weight[:, positive].sum(axis=1) * weight[:, ~positive].sum(axis=1)
        if not possible.any():
            continue
        area = measure(positive, score[here], positive, weight)["roc_auc"]
        right += np.where(possible > 0, area, 0.0) * possible
        pairs += possible
    with np.errstate(invalid="ignore"):
        auc: Floats = right / pairs
    return auc


@dataclass(frozen=True, eq=False)
class Resampled:
    """The test films of a study with their resamples: everything is compared on the same ones.

    Attributes:
        truth: [N].
        whole: stratum of each film for the whole set's AUC: one for all films of disjoint folds,
            the trial for random splits, whose networks' scores have no common scale.
        source: stratum for the AUC within a source; -1 where the source is not stated.
        trial: the trial, for what was fitted in each trial.
        weights: [1 + B, N]; the first row is the films themselves.
    """

    truth: Flags
    whole: Strata
    source: Strata
    trial: Strata
    weights: Floats

    @classmethod
    def of(cls, evidence: Evidence, *, bootstrap: int, seed: int) -> Resampled:
        """Resample the patients of a study's test films."""
        scores = evidence.pooled
        trial = np.repeat(
            np.arange(len(evidence.trials)), [len(trial.test) for trial in evidence.trials]
        )
        whole = np.zeros_like(trial) if evidence.folds else trial
        names = sorted({film.source for film in scores.films if film.source})
        source = np.array(
            [names.index(film.source) if film.source else -1 for film in scores.films], dtype=int
        )
        drawn = resamples(scores.truth, bootstrap=bootstrap, seed=seed, groups=scores.patients)
        return cls(
            truth=scores.truth,
            whole=whole,
            source=_crossed(source, whole),
            trial=trial,
            weights=np.concatenate([np.ones((1, len(scores))), drawn]),
        )

    def auc(self, score: Floats) -> Floats:
        """Of all test films, [1 + B]."""
        return pair_auc(self.truth, score, self.whole, self.weights)

    def auc_within(self, score: Floats) -> Floats:
        """Over pairs of the same source, [1 + B]."""
        return pair_auc(self.truth, score, self.source, self.weights)

    def by_trial(self) -> Resampled:
        """The same films and resamples, but only films of one trial are compared.

        Across folds a score that knows nothing ranks films the wrong way round: a fold rich in
        positive films leaves few to learn from, so that its films get the lower probability.
        Networks are far from that; a baseline that says little more than how frequent the disease
        is loses by it. Source: Parker, Günter and Bedo, BMC Bioinformatics 2007;8:326.
        """
        return replace(self, whole=self.trial, source=_crossed(self.source, self.trial))


def _crossed(inner: Strata, outer: Strata) -> Strata:
    """One stratum for each pair of strata; a negative inner one stays outside."""
    strata: Strata = np.where(inner < 0, -1, inner + (int(inner.max(initial=0)) + 1) * outer)
    return strata


def summed_up(values: Floats, undefined: str) -> Interval:
    """[1 + B], the first being the films themselves → a value with its interval."""
    return interval(float(values[0]), values[1:], undefined=undefined)
