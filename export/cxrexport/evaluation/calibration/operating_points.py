"""Thresholds for a wanted sensitivity or specificity, chosen on films that are not test films."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cxrexport.evaluation.scores import Flags, Floats

Rule = Literal["sensitivity", "specificity", "youden"]


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

    Raises:
        ValueError: a threshold that no ensemble can be served with.
    """

    name: str
    rule: Rule
    target: float | None
    threshold: float
    sensitivity: float
    specificity: float
    reason: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold < 1.0:
            raise ValueError(f"threshold must lie between 0 and 1, not {self.threshold}")


def choose_threshold(
    truth: Flags, probability: Floats, rule: Rule, target: float | None = None
) -> OperatingPoint:
    """The threshold that keeps a wanted sensitivity (or specificity) and loses least of the other.

    Args:
        truth: whether each film is positive, [N], films of both classes.
        probability: of each film, [N] in 0..1.
        rule: what to fix; `youden` fixes nothing and takes the best sum.
        target: in 0..1, for sensitivity and specificity.

    Raises:
        ValueError: one class only, or a target that does not fit the rule.
    """
    if (target is None) != (rule == "youden") or not 0 < (0.5 if target is None else target) <= 1:
        raise ValueError(f"{rule} does not go with the target {target}")
    if truth.all() or not truth.any():
        raise ValueError("an operating point needs films of both classes")
    cuts = _cuts(probability)
    positive, negative = np.sort(probability[truth]), np.sort(probability[~truth])
    missed = np.searchsorted(positive, cuts, side="right")
    sensitivity = (len(positive) - missed) / len(positive)
    specificity = np.searchsorted(negative, cuts, side="right") / len(negative)
    if rule == "youden":
        chosen = int(np.argmax(sensitivity + specificity))  # of equals the most sensitive one
        reached = True
    elif rule == "sensitivity":
        enough = np.flatnonzero(sensitivity >= (target or 0))
        reached, chosen = len(enough) > 0, int(enough[-1]) if len(enough) else 0
    else:
        enough = np.flatnonzero(specificity >= (target or 0))
        reached, chosen = len(enough) > 0, int(enough[0]) if len(enough) else len(cuts) - 1
    fixed = positive if rule == "sensitivity" else negative
    return OperatingPoint(
        name=point_name(rule, target),
        rule=rule,
        target=target,
        threshold=float(cuts[chosen]),
        sensitivity=float(sensitivity[chosen]),
        specificity=float(specificity[chosen]),
        reason=_what_to_mind(rule, target, len(fixed), reached),
    )


def point_name(rule: Rule, target: float | None) -> str:
    """For example `sensitivity 95 %`, or `Youden`."""
    return "Youden" if target is None else f"{rule} {100 * target:g} %"


def _cuts(probability: Floats) -> Floats:
    """Every threshold that calls the films differently, ascending, strictly within 0..1."""
    scores = np.unique(probability)
    around = np.concatenate([[0.0], scores, [1.0]])
    lower, upper = around[:-1], around[1:]
    middle = (lower + upper) / 2
    # Between two neighbouring floats there is none: the lower one then separates them.
    cuts = np.unique(np.where(middle < upper, middle, lower))
    within: Floats = cuts[(cuts > 0) & (cuts < 1)]
    return within


def _what_to_mind(rule: Rule, target: float | None, films: int, reached: bool) -> str | None:
    kind = "positive" if rule == "sensitivity" else "negative"
    if not reached:
        return f"no threshold between 0 and 1 reaches it on the {films} {kind} films"
    if target is not None and target < 1 and math.floor((1 - target) * films + 1e-9) == 0:
        return (
            f"with {films} {kind} films, {100 * target:g} % means all of them: "
            "the threshold rests on one film"
        )
    return None
