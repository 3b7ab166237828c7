"""Table 2: each network, their mean, their vote, the study's own value beside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cxrexport.ensemble import DEFAULT_MEMBERS
from cxrexport.evaluation.comparison import Comparison, Row
from cxrexport.evaluation.measures import MEAN_OF_MEMBERS, Difference, Interval, Metric
from cxrexport.report.chapters.blocks import Block, Cell, SmallLine, Table, Text
from cxrexport.report.chapters.numbers import (
    METRIC_NAMES,
    NOTHING,
    ROW_NAMES,
    figures_of,
    head,
    interval_cell,
    metric_cell,
)
from cxrexport.report.names import BASELINE_NAMES, judge_name, rows_shown, sole_member
from cxrexport.report.paper import is_the_papers_question, paper_values

if TYPE_CHECKING:
    from cxrexport.evaluation.assess import Assessment

_SHOWN: tuple[Metric, ...] = ("accuracy", "sensitivity", "specificity", "roc_auc", "pr_auc")


def network_blocks(results: Assessment) -> tuple[Block, ...]:
    """The comparison, the differences, each trial of the ensemble, before and after."""
    comparison = results.comparison
    blocks: list[Block] = [Text(_how(results)), _table_2(results)]
    if missing_networks(results):
        blocks.append(
            Text(
                "What is not in the table, not in every trial, or lacks networks stands with its "
                "reason under "
                "\N{LEFT DOUBLE QUOTATION MARK}What failed or was not trained"
                "\N{RIGHT DOUBLE QUOTATION MARK}."
            )
        )
    differences = _differences_shown(comparison)
    if differences:
        blocks.append(_differences(comparison, differences))
    if len(comparison.trials) > 1:
        blocks.append(_by_trial(comparison))
    if results.before is not None:
        blocks.append(_before_and_after(results.before, comparison))
    return tuple(blocks)


def missing_networks(results: Assessment) -> dict[str, str]:
    """Rows that are missed → why. The study's networks are missed only where its question is."""
    comparison = results.comparison
    row = comparison.row("ensemble")
    ours = {"ensemble", *(() if row is None else row.members)}
    asked = is_the_papers_question(results.labels)
    return {
        name: why
        for name, why in comparison.missing.items()
        if name not in BASELINE_NAMES and (asked or name in ours)
    }


def _how(results: Assessment) -> str:
    comparison = results.comparison
    over = (
        "Pooled over the folds"
        if results.folds
        else f"Mean over {len(comparison.trials)} random splits; counts are their sum"
        if len(comparison.trials) > 1
        else "One trained set of networks"
    )
    first = figures_of(comparison.rows[0]) if comparison.rows else None
    resamples = f"{first.bootstrap:,} resamples" if first else "resamples"
    proportions = (
        "those of proportions likewise, and no narrower than exact ones"
        if len(comparison.trials) > 1 and not results.folds
        else "those of proportions are exact, and count films of one patient as alike"
    )
    return (
        f"{over}: {comparison.films} different test films of {comparison.patients} patients. A "
        f"film is predicted positive above a probability of {comparison.threshold:g}. Intervals of "
        f"areas are percentiles of {resamples} of the patients; {proportions}."
    )


def _table_2(results: Assessment) -> Table:
    comparison, asked = results.comparison, is_the_papers_question(results.labels)
    rows = []
    for row in rows_shown(comparison):
        rows.append((_name(row, asked=asked), *_metrics(row, asked=asked)))
        if row.name == "ensemble" and asked and comparison.as_study is not None:
            figures = comparison.as_study
            how = f"percentiles of {figures.bootstrap} resamples of films"
            cells = (metric_cell(metric, figures) for metric in _SHOWN)
            rows.append((head("The ensemble, sampled as in the study", how), *cells))
    note = (
        "Published and preprint: the study's own values, on its own films. They stand here to be "
        "read together, not to be subtracted: other films, other patients, another disease "
        "prevalence. "
        if asked
        else ""
    )
    return Table(
        "Networks, ensemble and vote" if len(rows) > 1 else "The network",
        ("", *(METRIC_NAMES[metric] for metric in _SHOWN)),
        tuple(rows),
        f"{comparison.films} test films of {comparison.patients} patients; below each value n of N "
        f"and the 95 % interval. {note}PR AUC is the average precision and depends on the share of "
        "positive films.",
    )


def _name(row: Row, *, asked: bool) -> Cell:
    members = [ROW_NAMES.get(name, name) for name in row.members]
    lines = []
    if row.name in ("ensemble", "vote"):
        lines.append(f"of {', '.join(members)}")
        missing = [name for name in DEFAULT_MEMBERS if name not in row.members]
        if row.name == "ensemble" and missing and asked:
            lines.append(f"the study's has {', '.join(ROW_NAMES[n] for n in missing)} as well")
    trials = sum(figures is not None for figures in row.trials)
    if trials < len(row.trials):
        lines.append(f"in {trials} of {len(row.trials)} trials")
    return head(ROW_NAMES.get(row.name, row.name), *lines)


def _metrics(row: Row, *, asked: bool) -> Sequence[Cell]:
    figures = figures_of(row)
    return [
        metric_cell(metric, figures, paper_values(row.name, metric) if asked else ())
        for metric in _SHOWN
    ]


def _differences_shown(comparison: Comparison) -> tuple[Difference, ...]:
    """Those between rows of the table; the ensemble's only member is not compared with itself."""
    shown = {row.name for row in rows_shown(comparison)}
    if (only := sole_member(comparison)) is not None:
        renamed = [
            replace(each, better=only) if each.better == "ensemble" else each
            for each in comparison.differences
        ]
        return tuple(
            each
            for each in renamed
            if each.better != each.than and {each.better, each.than} <= shown
        )
    shown.add(MEAN_OF_MEMBERS)
    return tuple(each for each in comparison.differences if {each.better, each.than} <= shown)


def _differences(comparison: Comparison, differences: Sequence[Difference]) -> Table:
    pairs = list(dict.fromkeys((each.better, each.than) for each in differences))
    metrics = list(dict.fromkeys(each.metric for each in differences))
    known = {(each.better, each.than, each.metric): each for each in differences}
    tested = any(each.delong for each in differences)
    rows = []
    for better, than in pairs:
        names = f"{ROW_NAMES.get(better, better)} minus {ROW_NAMES.get(than, than)}"
        best = ["the best single network"] if than == comparison.best_single else []
        each = [known.get((better, than, metric)) for metric in metrics]
        cells = [_difference(one) for one in each]
        if tested:
            cells.insert(1, _delong(known.get((better, than, "roc_auc"))))
        rows.append((head(names, *best), *cells))
    columns = [METRIC_NAMES.get(metric, metric) for metric in metrics]
    if tested:
        columns.insert(1, "ROC AUC by DeLong's test")
    return Table(
        "Differences, paired on the same resamples",
        ("", *columns),
        tuple(rows),
        "A difference is beyond chance where its interval does not hold 0. Points: "
        "percentage points. The best single network is chosen on these very test films, which "
        "favours it."
        + (
            " DeLong's test needs no resamples; films of one patient are summed first "
            "(Obuchowski). p is not corrected for the number of comparisons."
            if tested
            else ""
        ),
    )


def _difference(difference: Difference | None) -> Cell:
    if difference is None:
        return Cell("")
    unit = "number" if difference.metric in ("roc_auc", "pr_auc") else "points"
    return interval_cell(difference.pooled or difference.over_trials, unit, signed=True)


def _delong(difference: Difference | None) -> Cell:
    found = None if difference is None else difference.delong
    if found is None:
        return Cell(NOTHING)
    cell = interval_cell(Interval(found.value, found.low, found.high), signed=True)
    if found.p is None:
        return replace(cell, lines=(SmallLine(found.reason or ""),))
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    return replace(cell, lines=(*cell.lines, SmallLine(p)))


def _by_trial(comparison: Comparison) -> Table:
    row = comparison.row("ensemble")
    trials = row.trials if row is not None else ()
    who = judge_name(comparison)
    return Table(
        f"{who[0].upper()}{who[1:]} in each trial",
        ("trial", "films", *(METRIC_NAMES[metric] for metric in _SHOWN)),
        tuple(
            (
                head(name),
                Cell(str(figures.n), (SmallLine(f"{figures.positives} positive"),)),
                *(metric_cell(metric, figures) for metric in _SHOWN),
            )
            for name, figures in zip(comparison.trials, trials, strict=False)
            if figures is not None
        ),
    )


def _before_and_after(before: Comparison, after: Comparison) -> Table:
    rows = []
    for row in rows_shown(after):
        earlier = before.row(row.name)
        if earlier is None:
            continue
        now, then = figures_of(row), figures_of(earlier)
        name = ROW_NAMES.get(row.name, row.name)
        rows.append((head(f"{name}, before"), *(metric_cell(metric, then) for metric in _SHOWN)))
        rows.append((head(f"{name}, after"), *(metric_cell(metric, now) for metric in _SHOWN)))
    return Table(
        "Before and after fine-tuning, on the same test films",
        ("", *(METRIC_NAMES[metric] for metric in _SHOWN)),
        tuple(rows),
    )
