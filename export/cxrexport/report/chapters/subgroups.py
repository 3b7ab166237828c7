"""Whom the ensemble serves: subgroups, hard films, other prevalences, right and wrong films."""

from __future__ import annotations

from collections.abc import Sequence

from cxrexport.evaluation.measures import Metric
from cxrexport.evaluation.subgroups import ErrorRow, Prevalence, Subgroup, Subgroups
from cxrexport.report.chapters.blocks import Block, Cell, Listing, Note, Table, Text
from cxrexport.report.chapters.numbers import (
    METRIC_NAMES,
    NOTHING,
    head,
    interval_cell,
    metric_cell,
    of,
    percent,
)
from cxrexport.report.paper import HARD, is_the_papers_question

_SHOWN: tuple[Metric, ...] = ("accuracy", "sensitivity", "specificity", "roc_auc")
_PREVALENCE: tuple[Metric, ...] = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
_NOT_KNOWN = "not known"


def subgroup_blocks(
    subgroups: Subgroups, labels: tuple[str, str], who: str = "the ensemble"
) -> tuple[Block, ...]:
    """Every subgroup with its n; columns that the manifest lacks are named."""
    if subgroups.reason is not None:
        return (Note(f"There are no subgroups to report: {subgroups.reason}."),)
    blocks: list[Block] = [
        Text(
            f"{who[0].upper()}{who[1:]} on the test films of each subgroup. Below 30 films of a "
            "class a subgroup cannot be judged."
        )
    ]
    if subgroups.groups:
        blocks.append(_groups("By subgroup", subgroups.groups, labels))
    if subgroups.absent:
        blocks.append(
            Listing(
                "Columns that the manifest lacks",
                tuple(f"{column}: {why}" for column, why in subgroups.absent.items()),
            )
        )
    if subgroups.hard:
        blocks.append(_hard(subgroups.hard, labels))
    if subgroups.prevalence:
        blocks.append(_prevalence(subgroups.prevalence, labels))
    if subgroups.errors:
        blocks.append(_errors(subgroups.errors, labels))
    blocks += _days(subgroups, labels)
    return tuple(blocks)


def _groups(title: str, groups: Sequence[Subgroup], labels: tuple[str, str]) -> Table:
    rows = []
    for group in groups:
        count = (
            head(f"{group.column}: {group.value or _NOT_KNOWN}"),
            Cell(str(group.films)),
            Cell(str(group.positives)),
            Cell(str(group.patients)),
        )
        rows.append((*count, *_group_cells(group)))
    return Table(
        title,
        ("subgroup", "films", labels[1], "patients", *(METRIC_NAMES[m] for m in _SHOWN)),
        tuple(rows),
    )


def _group_cells(group: Subgroup) -> Sequence[Cell]:
    if group.figures is None:
        reason = head("", group.reason or group.verdict).lines
        return [Cell("cannot be judged", reason), *(Cell(NOTHING) for _ in _SHOWN[1:])]
    cells = [metric_cell(metric, group.figures) for metric in _SHOWN]
    if group.reason:
        cells[0] = Cell(cells[0].text, (*cells[0].lines, *head("", group.reason).lines))
    return cells


def _hard(groups: Sequence[Subgroup], labels: tuple[str, str]) -> Table:
    table = _groups("Films that the readers judged hard, and the others", groups, labels)
    accuracy, sensitivity = HARD["accuracy"], HARD["sensitivity"]
    return Table(
        table.title,
        table.columns,
        table.rows,
        f"Published: {accuracy.whole} hard films, {sensitivity.whole} positive; accuracy "
        f"{100 * accuracy.value:.0f} %, sensitivity {100 * sensitivity.value:.0f} %."
        if is_the_papers_question(labels)
        else "",
    )


def _prevalence(rows: Sequence[Prevalence], labels: tuple[str, str]) -> Table:
    body = []
    for row in rows:
        if row.reason is not None and not row.figures:
            cells = [Cell(NOTHING, head("", row.reason).lines)]
            cells += [Cell(NOTHING) for _ in _PREVALENCE[1:]]
        else:
            cells = [interval_cell(row.figures.get(metric), metric) for metric in _PREVALENCE]
        films = f"{of(row.positives, row.films)} films positive, {row.draws:,} draws"
        body.append((head(percent(row.prevalence), films), *cells))
    return Table(
        f"At a lower prevalence of {labels[1]}",
        ("prevalence", *(METRIC_NAMES[metric] for metric in _PREVALENCE)),
        tuple(body),
        "Positive films are left out at random until their share is so low; mean and 2.5th to "
        "97.5th percentile of the draws: how far draws scatter, no confidence interval. "
        + (
            "Published: similar scores at 5 % and 10 % (no numbers given). "
            if is_the_papers_question(labels)
            else ""
        )
        + "Prevalence changes the predictive values; sensitivity and specificity only by chance.",
    )


def _errors(rows: Sequence[ErrorRow], labels: tuple[str, str]) -> Table:
    body = []
    for row in rows:
        total = row.right + row.wrong
        body.append(
            (
                head(f"{row.column}: {row.value or _NOT_KNOWN}"),
                Cell(str(row.right)),
                Cell(str(row.wrong), head("", percent(row.wrong / total)).lines if total else ()),
                Cell(str(row.false_positive)),
                Cell(str(row.false_negative)),
            )
        )
    return Table(
        "Right and wrong films by sex and age",
        ("", "right", "wrong", "false positive", "false negative"),
        tuple(body),
        "Published: women higher than men; no strong effect of age."
        if is_the_papers_question(labels)
        else "",
    )


def _days(subgroups: Subgroups, labels: tuple[str, str]) -> list[Block]:
    blocks: list[Block] = []
    for series in subgroups.days:
        first = [day for day in series.daily if day.day == 0]
        if not first:
            continue
        told = "; ".join(
            f"{of(day.wrong, day.films)} {labels[day.positive]} films wrong" for day in first
        )
        wrong = sum(day.wrong for day in series.daily)
        films = sum(day.films for day in series.daily)
        blocks.append(
            Text(
                f"On day 0 ({series.meaning or 'the manifest does not say since when'}): {told}; "
                f"over all days {of(wrong, films)}."
                + (
                    " Published: most errors on a patient's first film."
                    if is_the_papers_question(labels)
                    else ""
                )
            )
        )
    if not subgroups.days:
        blocks.append(Text("No film has a day (column offset_days), so none is reported."))
    return blocks
