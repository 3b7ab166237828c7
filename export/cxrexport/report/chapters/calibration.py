"""What a probability means, and the thresholds for a wanted sensitivity or specificity."""

from __future__ import annotations

from cxrexport.evaluation.calibration import CalibrationStudy
from cxrexport.evaluation.measures import Metric
from cxrexport.report.chapters.blocks import Block, Cell, Listing, Note, SmallLine, Table, Text
from cxrexport.report.chapters.numbers import (
    METRIC_NAMES,
    ROW_NAMES,
    head,
    interval_cell,
    metric_cell,
    number_cell,
    percent,
)

_SHOWN: tuple[Metric, ...] = ("sensitivity", "specificity", "accuracy", "ppv", "npv")


def calibration_blocks(calibration: CalibrationStudy, only: str | None = None) -> tuple[Block, ...]:
    """Brier score and calibration error before and after; temperatures; operating points.

    Args:
        calibration: over the study.
        only: the ensemble's only member, which then has no second row as the ensemble.
    """
    if calibration.reason is not None and not calibration.networks:
        return (Note(f"There is no calibration to report: {calibration.reason}."),)
    blocks: list[Block] = [
        Text(
            "A temperature divides each network's logits; it is fitted on the validation films of "
            "a trial and judged on its test films. The ranking of films by one network stays as it "
            "was, so its ROC AUC does not change."
        ),
        _errors(calibration, only),
        _temperatures(calibration),
    ]
    if calibration.points:
        blocks.append(_points(calibration))
    without = [f"{trial.name}: {trial.reason}" for trial in calibration.trials if trial.reason]
    if without:
        blocks.append(Listing("Trials without calibration", tuple(without)))
    return tuple(blocks)


def _errors(calibration: CalibrationStudy, only: str | None) -> Table:
    rows = []
    for network in calibration.networks:
        if network.name == "ensemble" and only is not None:
            continue
        before, after = network.before, network.after
        rows.append(
            (
                head(ROW_NAMES.get(network.name, network.name)),
                interval_cell(before.brier, "number"),
                interval_cell(after.brier, "number"),
                interval_cell(network.brier_change, "number", signed=True),
                number_cell(before.ece),
                number_cell(after.ece),
            )
        )
    films = sum(calibration.networks[0].after.counts) if calibration.networks else 0
    return Table(
        f"Calibration on {films} test films, before and after temperature scaling",
        ("", "Brier before", "Brier after", "change", "calibration error before", "after"),
        tuple(rows),
        "Brier score: mean squared error of the probability; 0 is best, 0.25 what always saying "
        "0.5 gives. Expected calibration error: mean gap of probability and frequency over ten "
        "bins. Intervals resample patients.",
    )


def _temperatures(calibration: CalibrationStudy) -> Table:
    there = [trial for trial in calibration.trials if trial.calibration is not None]
    fitted = [trial.calibration for trial in there if trial.calibration is not None]
    names = list(dict.fromkeys(name for each in fitted for name in each.temperatures))
    rows = []
    for trial, each in zip(there, fitted, strict=True):
        cells = []
        for name in names:
            flag = each.flags.get(name)
            value = each.temperatures.get(name)
            cells.append(number_cell(value, 2, *([flag] if flag else [])))
        cells.append(number_cell(each.together, 2))
        rows.append((head(trial.name, f"{each.films} films, {each.positives} positive"), *cells))
    return Table(
        "Temperatures, by trial",
        ("trial", *(ROW_NAMES.get(name, name) for name in names), "together"),
        tuple(rows),
        "Above 1: the network was too sure of itself. In the ensemble each is multiplied by the "
        "last column, as a mean of probabilities that are each right is too timid.",
    )


def _points(calibration: CalibrationStudy) -> Table:
    rows = []
    for name, figures in calibration.points.items():
        judged = [
            point for trial in calibration.trials for point in trial.points
            if point.point.name == name
        ]  # fmt: skip
        thresholds = sorted(point.point.threshold for point in judged)
        reasons = sorted({point.point.reason for point in judged if point.point.reason})
        rows.append((head(name, *reasons), _span(thresholds), _chosen(calibration, name),
                     *(metric_cell(metric, figures) for metric in _SHOWN)))  # fmt: skip
    if calibration.even is not None:
        rows.append((head("0.5"), Cell("0.5"), Cell(""),
                     *(metric_cell(metric, calibration.even) for metric in _SHOWN)))  # fmt: skip
    return Table(
        "Operating points after calibration: fixed on validation films, judged on test films",
        ("fixed", "threshold", "on validation", *(METRIC_NAMES[metric] for metric in _SHOWN)),
        tuple(rows),
        "The predictive values hold for the share of positive films here only.",
    )


def _span(thresholds: list[float]) -> Cell:
    if not thresholds:
        return Cell("")
    middle = thresholds[len(thresholds) // 2]
    if len(thresholds) == 1:
        return Cell(f"{middle:.3f}")
    ends = f"{thresholds[0]:.3f}\N{EN DASH}{thresholds[-1]:.3f} over {len(thresholds)} trials"
    return Cell(f"{middle:.3f}", (SmallLine(ends),))


def _chosen(calibration: CalibrationStudy, name: str) -> Cell:
    points = [
        point for trial in calibration.trials if trial.calibration is not None
        for point in trial.calibration.operating_points if point.name == name
    ]  # fmt: skip
    if not points:
        return Cell("")
    sensitivity = sum(point.sensitivity for point in points) / len(points)
    specificity = sum(point.specificity for point in points) / len(points)
    return Cell("", (SmallLine(f"sensitivity {percent(sensitivity)}"),
                     SmallLine(f"specificity {percent(specificity)}")))  # fmt: skip
