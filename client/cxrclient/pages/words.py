"""The words of a page: what a number is, and how much of it is shown."""

from __future__ import annotations

from cxrclient.wire import EnsembleInfo

RESEARCH_USE = "Research use only; not a medical device."
_DIGITS, _MOST_DIGITS = 3, 9


def score_name(model: EnsembleInfo) -> str:
    """What the model's number is called: only a calibrated one is an estimate of a probability."""
    positive = model.labels[1]
    return f"estimated probability of {positive}" if model.calibrated else f"score for {positive}"


def calibration_sentence(model: EnsembleInfo) -> str:
    """What the model's number means, and what it does not."""
    if model.calibrated:
        return (
            "The probability is calibrated on the model's own validation films. It holds for films "
            "like those, with as much disease among them, and for no others."
        )
    return (
        "The score is not calibrated: it is no probability of disease. It puts films in an order, "
        "and films above the threshold in a class."
    )


def threshold_sentence(model: EnsembleInfo) -> str:
    """Where the class begins, and who chose that."""
    positive, point = model.labels[1], model.operating_point
    above = f"Above {model.threshold:.4g} the class is {positive}"
    if point is None:
        return f"{above}: a plain threshold, not chosen for a sensitivity or specificity."
    remark = f" Mind: {point.reason}." if point.reason else ""
    return f"{above}: operating point “{point.name}”, chosen on validation films.{remark}"


def shown(value: float, threshold: float | None = None) -> str:
    """A number of 0..1 with three digits, or as many as keep it on its side of the threshold.

    No film is certain: what would round to 0 or 1 is shown as below 0.001 or above 0.999.
    """
    digits = _DIGITS
    if threshold is not None:
        side = value > threshold
        while (round(value, digits) > threshold) != side and digits < _MOST_DIGITS:
            digits += 1
    if digits == _DIGITS:
        if value < 0.0005:
            return "< 0.001"
        if value >= 0.9995:
            return "> 0.999"
    return f"{value:.{digits}f}"


def fact_words(code: str) -> str:
    """A code in words that can be read aloud: LOSSY_COMPRESSED → lossy compressed."""
    return code.replace("_", " ").lower()
