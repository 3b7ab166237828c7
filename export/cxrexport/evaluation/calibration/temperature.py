"""The temperature, or the shift, that turns margins into probabilities that can be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrexport.evaluation.scores import Flags, Floats, sigmoid

TEMPERATURES = (0.05, 20.0)
"""Bounds. A network outside them is broken, and no division mends it."""


def fit_temperature(margin: Floats, truth: Flags) -> float:
    """The temperature that makes the truth most likely, within `TEMPERATURES`.

    It minimises the cross entropy of sigmoid(margin / temperature), which is convex in
    1 / temperature, so that there is one answer. The targets are Platt's, (n₊ + 1) / (n₊ + 2) and
    1 / (n₋ + 2), not 1 and 0: some dozens of films that a network separates without an error would
    otherwise ask for probabilities of exactly 0 and 1. With hundreds of films it is the same.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2; targets
    from Platt, Probabilistic outputs for support vector machines, 1999, section 2.2.

    Args:
        margin: logit of the positive class minus that of the negative one, [N].
        truth: whether each film is positive, [N], films of both classes.

    Raises:
        ValueError: one class only, lengths that differ, or a margin that is not finite.
    """
    from scipy.optimize import brentq

    target = _targets(margin, truth)

    def slope(inverse: float) -> float:
        """Derivative of the cross entropy, increasing in 1 / temperature."""
        return float(np.sum(margin * (sigmoid(margin * inverse) - target)))

    coldest, hottest = TEMPERATURES
    if slope(1 / hottest) >= 0:
        return hottest
    if slope(1 / coldest) <= 0:
        return coldest
    return 1 / float(brentq(slope, 1 / hottest, 1 / coldest, xtol=1e-12))


def fit_together(margins: Sequence[Floats], truth: Flags) -> float:
    """The temperature, of all members alike, that makes the mean of their probabilities right.

    The mean of probabilities that are each right is too timid: where members err on different
    films, it lies nearer to a half than its films' truth. Targets and bounds as in
    `fit_temperature`.

    Source: Rahaman and Thiery, Uncertainty quantification and deep ensembles, NeurIPS 2021.

    Args:
        margins: of each member after its own temperature, [N] each.
        truth: whether each film is positive, [N], films of both classes.

    Raises:
        ValueError: as `fit_temperature`.
    """
    from scipy.optimize import minimize_scalar

    target = next(_targets(margin, truth) for margin in margins)

    def loss(log_temperature: float) -> float:
        mean = np.mean([sigmoid(margin / np.exp(log_temperature)) for margin in margins], axis=0)
        mean = np.clip(mean, 1e-12, 1 - 1e-12)
        return float(-np.mean(target * np.log(mean) + (1 - target) * np.log(1 - mean)))

    ends = tuple(np.log(TEMPERATURES))
    return float(np.exp(minimize_scalar(loss, bounds=ends, method="bounded").x))


def fit_shift(margin: Floats, truth: Flags) -> float:
    """What to add to margins so that their mean probability is that of the films.

    One number, which a handful of films of another hospital can carry: it mends a threshold and
    the frequency of the disease, not the order of the films. Targets as for `fit_temperature`.

    Source: the recalibration "in the large" of Steyerberg, Clinical Prediction Models, chapter 20.

    Args:
        margin: log odds of the positive class, [N].
        truth: whether each film is positive, [N], films of both classes.

    Raises:
        ValueError: as `fit_temperature`.
    """
    from scipy.optimize import brentq

    target = _targets(margin, truth)
    # Beyond these ends every probability is on one side of its target.
    ends = (-margin.max() - 40.0, -margin.min() + 40.0)
    return float(brentq(lambda shift: np.sum(sigmoid(margin + shift) - target), *ends))


def _targets(margin: Floats, truth: Flags) -> Floats:
    if margin.shape != truth.shape or margin.ndim != 1 or not np.isfinite(margin).all():
        raise ValueError("margin must be finite and [N], like truth")
    positives = int(truth.sum())
    if not 0 < positives < len(truth):
        raise ValueError("films of both classes are needed")
    negatives = len(truth) - positives
    targets: Floats = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    return targets


def why_doubtful(margin: Floats, truth: Flags, temperature: float) -> str | None:
    """What to mind of a fitted temperature; None if nothing.

    Args:
        margin: that it was fitted on, [N].
        truth: likewise.
        temperature: from `fit_temperature`.
    """
    if bool(((margin > 0) == truth).all()):
        return f"no error on {len(truth)} validation films: what sets it is how few they are"
    coldest, hottest = TEMPERATURES
    if temperature >= hottest:
        return f"at the bound of {hottest:g}: the network does not tell the validation films apart"
    if temperature <= coldest:
        return f"at the bound of {coldest:g}: the margins are too small for these films' truth"
    return None
