"""How numbers are written: percent with one decimal, areas under curves with three."""

from __future__ import annotations

from collections.abc import Sequence

from cxrexport.evaluation.comparison import Row
from cxrexport.evaluation.measures import Counts, Figures, Interval, Metric
from cxrexport.report.chapters.blocks import Cell, SmallLine
from cxrexport.report.names import BASELINE_NAMES, NETWORK_NAMES
from cxrexport.report.paper import PaperValue

NOTHING = "\N{EN DASH}"

METRIC_NAMES: dict[str, str] = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
}
ROW_NAMES: dict[str, str] = {**NETWORK_NAMES, **BASELINE_NAMES}
"""Of the rows of Table 2."""
_AREAS = ("roc_auc", "pr_auc")
_POINTS = "points"
"""Differences of shares: percentage points."""
_NUMBERS = (*_AREAS, "number")


def percent(value: float) -> str:
    """0.903 → `90.3 %`."""
    return f"{number(100 * value, 1)} %"


def number(value: float | None, decimals: int = 3) -> str:
    """A number, or a dash; a minus sign is a minus sign, and there is no minus zero."""
    if value is None:
        return NOTHING
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "\N{MINUS SIGN}")


def of(part: int, whole: int) -> str:
    """`305 of 350`."""
    return f"{part} of {whole}"


def head(text: str, *lines: str) -> Cell:
    """The cell that names a row."""
    return Cell(text, tuple(SmallLine(line) for line in lines), head=True)


def figures_of(row: Row) -> Figures:
    """A row's figures over the whole study: pooled where the trials are folds, else the mean."""
    return row.pooled or row.over_trials


def text_of(metric: str, value: float | None) -> str:
    """A value in its own unit: areas and scores as they are, shares in per cent."""
    if value is None:
        return NOTHING
    if metric == _POINTS:
        return f"{number(100 * value, 1)} points"
    return number(value) if metric in _NUMBERS else percent(value)


def metric_cell(metric: Metric, figures: Figures, paper: Sequence[PaperValue] = ()) -> Cell:
    """A metric of figures: value, n of N, interval, and the study's own below."""
    found: Interval = getattr(figures, metric)
    lines = []
    if found.value is not None and (counted := _counted(metric, figures.counts)):
        lines.append(SmallLine(counted))
    lines += _interval_lines(found, metric)
    lines += [SmallLine(_paper_text(metric, value), paper=True) for value in paper]
    return Cell(text_of(metric, found.value), tuple(lines), interval=found)


def interval_cell(found: Interval | None, metric: str = "number", *, signed: bool = False) -> Cell:
    """A value with its interval, or why there is none."""
    if found is None:
        return Cell(NOTHING)
    text = text_of(metric, found.value)
    if signed and found.value is not None and found.value > 0:
        text = f"+{text}"
    return Cell(text, tuple(_interval_lines(found, metric)), interval=found)


def number_cell(value: float | None, decimals: int = 3, *lines: str) -> Cell:
    """A number without an interval."""
    return Cell(number(value, decimals), tuple(SmallLine(line) for line in lines))


def _interval_lines(found: Interval, metric: str) -> list[SmallLine]:
    lines = []
    if found.low is not None and found.high is not None:
        lines.append(SmallLine(interval_text(metric, found.low, found.high)))
    if found.reason:
        lines.append(SmallLine(found.reason))
    return lines


def interval_text(metric: str, low: float, high: float) -> str:
    """The ends of an interval, in the unit of the value."""
    decimals = 3 if metric in _NUMBERS else 1
    scale = 1 if metric in _NUMBERS else 100
    ends = number(scale * low, decimals), number(scale * high, decimals)
    # A dash beside a minus sign cannot be read.
    return f"{ends[0]} to {ends[1]}" if min(low, high) < 0 else f"{ends[0]}{NOTHING}{ends[1]}"


def _counted(metric: Metric, counts: Counts) -> str:
    tp, fn = counts.true_positive, counts.false_negative
    tn, fp = counts.true_negative, counts.false_positive
    part_whole = {
        "accuracy": (tp + tn, tp + fn + tn + fp),
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
    }.get(metric)
    return of(*part_whole) if part_whole else ""


def _paper_text(metric: str, value: PaperValue) -> str:
    decimals = f"{value.value:.2f}" if metric in _AREAS else percent(value.value)
    if value.part is not None and value.whole is not None:
        decimals += f", {of(value.part, value.whole)}"
    if value.low is not None and value.high is not None:
        low, high = value.low, value.high
        ends = (
            f"{low:.2f}{NOTHING}{high:.2f}"
            if metric in _AREAS
            else f"{100 * low:g}{NOTHING}{100 * high:g}"
        )
        decimals += f" ({ends})"
    return f"{value.edition}: {decimals}"
