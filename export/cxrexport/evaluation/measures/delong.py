"""Is one ROC AUC larger than another? DeLong's test, beside the paired bootstrap.

It needs no resampling: each film's share in the area (its structural component) says how uncertain
the area is. Films of one patient are summed first, as Obuchowski does, so that they do not count
as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.measures.exact import LEVEL
from cxrexport.evaluation.scores import Flags, Floats

NO_VARIANCE = "the two areas do not vary"


@dataclass(frozen=True)
class DeLong:
    """A difference of two ROC AUCs of the same films.

    Attributes:
        value: the first minus the second.
        low: lower end of the 95 % interval, value ± 1.96 standard errors.
        high: upper end.
        p: of the hypothesis that they are equal, two-sided; None where nothing varies.
        reason: why p is None.
    """

    value: float
    low: float
    high: float
    p: float | None
    reason: str | None = None


def delong_difference(
    truth: Flags,
    score: Floats,
    others: Sequence[Floats],
    groups: npt.NDArray[np.generic] | None = None,
) -> DeLong | None:
    """Compare the ROC AUC of a score with that of another, or with the mean of several.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988;44:837; for groups Obuchowski,
    Biometrics 1997;53:567.

    Args:
        truth: whether each film is positive, [N].
        score: of each film, [N].
        others: as many scores of the same films as are averaged; at least one.
        groups: each film's patient, [N]; None where films are independent.

    Returns:
        None where there are not two positive and two negative patients.
    """
    units = np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1]
    if min(len(set(units[truth])), len(set(units[~truth]))) < 2:
        return None
    parts = _components(truth, score) - np.mean([_components(truth, each) for each in others], 0)
    value = float(parts[truth].mean())
    error = float(np.sqrt(max(_variance(truth, parts, value, units), 0.0)))
    if not error:
        return DeLong(value, value, value, None, NO_VARIANCE)
    from scipy.stats import norm

    reach = float(norm.ppf((1 + LEVEL) / 2)) * error
    return DeLong(value, value - reach, value + reach, float(2 * norm.sf(abs(value) / error)))


def _components(truth: Flags, score: Floats) -> Floats:
    """Of each film the share of films of the other class that it is rightly above or below, [N]."""
    positive, negative = np.sort(score[truth]), np.sort(score[~truth])

    def below(values: Floats, limits: Floats) -> Floats:
        ties = np.searchsorted(values, limits, "left") + np.searchsorted(values, limits, "right")
        share: Floats = ties / (2 * len(values))
        return share

    found = np.empty(len(truth))
    found[truth] = below(negative, score[truth])
    found[~truth] = 1 - below(positive, score[~truth])
    return found


def _variance(truth: Flags, parts: Floats, value: float, units: npt.NDArray[np.int_]) -> float:
    """Of the mean of the components of a difference; films of one unit are not independent."""
    count = int(units.max()) + 1

    def sums(chosen: Flags) -> tuple[Floats, float]:
        there = len(set(units[chosen]))
        summed = np.bincount(units[chosen], parts[chosen] - value, minlength=count)
        return summed / chosen.sum(), there / (there - 1)

    (above, of_positive), (under, of_negative) = sums(truth), sums(~truth)
    each = of_positive * above @ above + of_negative * under @ under
    return float(each + 2 * count / (count - 1) * above @ under)
