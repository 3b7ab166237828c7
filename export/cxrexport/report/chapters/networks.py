"""Table 2: each network, their mean, their vote, the study's own value beside each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cxrexport.ensemble import DEFAULT_MEMBERS
from cxrexport.evaluation.comparison import Comparison, Row
from cxrexport.evaluation.measures import Difference, Interval, Metric
from cxrexport.report.chapters.blocks import Block, Cell, SmallLine, Table, Text
from cxrexport.report.chapters.numbers import (
    METRIC_NAMES,
    ROW_NAMES,
    figures_of,
    head,
    interval_cell,
    metric_cell,
)
from cxrexport.report.paper import paper_values

if TYPE_CHECKING:
    from cxrexport.evaluation.assess import Assessment

_SHOWN: tuple[Metric, ...] = ("accuracy", "sensitivity", "specificity", "roc_auc", "pr_auc")


def network_blocks(results: Assessment) -> tuple[Block, ...]:
    """The comparison, the differences, each trial of the ensemble, before and after."""
    comparison = results.comparison
    blocks: list[Block] = [Text(_how(results)), _table_2(comparison)]
    if comparison.missing:
        blocks.append(
            Text(
                "What is not in the table, or not in every trial, stands with its reason under "
                "\N{LEFT DOUBLE QUOTATION MARK}What failed or was not trained"
                "\N{RIGHT DOUBLE QUOTATION MARK}."
            )
        )
    if comparison.differences:
        blocks.append(_differences(comparison))
    if len(comparison.trials) > 1:
        blocks.append(_by_trial(comparison))
    if results.before is not None:
        blocks.append(_before_and_after(results.before, comparison))
    return tuple(blocks)


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
    bootstrap = f" of {first.bootstrap} bootstrap samples" if first else ""
    patients = (
        " The second interval (by patient) resamples patients in place of films, because films "
        "of one patient are not independent; the study resamples films."
        if any(figures_of(row, by_patient=True) for row in comparison.rows)
        else ""
    )
    return (
        f"{over}: {comparison.films} different test films of {comparison.patients} patients. A "
        f"film is predicted positive above a probability of {comparison.threshold:g}. Below each "
        f"value: n of N and the 95 % interval (2.5th and 97.5th percentile{bootstrap}).{patients}"
    )


def _table_2(comparison: Comparison) -> Table:
    return Table(
        "Networks, ensemble, vote and trivial baselines",
        ("", *(METRIC_NAMES[metric] for metric in _SHOWN)),
        tuple((_name(row), *_metrics(row)) for row in comparison.rows),
        "Published and preprint: the study's own values, on its own films. They stand here to be "
        "read together, not to be subtracted: other films, other patients, another disease "
        "prevalence. PR AUC is the average precision and depends on the share of positive films.",
    )


def _name(row: Row) -> Cell:
    members = [ROW_NAMES.get(name, name) for name in row.members]
    lines = []
    if row.name in ("ensemble", "vote"):
        lines.append(f"of {', '.join(members)}")
        missing = [name for name in DEFAULT_MEMBERS if name not in row.members]
        if row.name == "ensemble" and missing:
            lines.append(f"the study's has {', '.join(ROW_NAMES[n] for n in missing)} as well")
    trials = sum(figures is not None for figures in row.trials)
    if trials < len(row.trials):
        lines.append(f"in {trials} of {len(row.trials)} trials")
    return head(ROW_NAMES.get(row.name, row.name), *lines)


def _metrics(row: Row) -> Sequence[Cell]:
    figures = figures_of(row)
    if figures is None:
        return [Cell("") for _ in _SHOWN]
    by_patient = figures_of(row, by_patient=True)
    return [
        metric_cell(metric, figures, by_patient, paper_values(row.name, metric))
        for metric in _SHOWN
    ]


def _differences(comparison: Comparison) -> Table:
    differences = comparison.differences
    pairs = list(dict.fromkeys((each.better, each.than) for each in differences))
    metrics = list(dict.fromkeys(each.metric for each in differences))
    known = {(each.better, each.than, each.metric): each for each in differences}
    rows = []
    for better, than in pairs:
        names = f"{ROW_NAMES.get(better, better)} minus {ROW_NAMES.get(than, than)}"
        best = ["the best single network"] if than == comparison.best_single else []
        cells = [_difference(known.get((better, than, metric)), metric) for metric in metrics]
        rows.append((head(names, *best), *cells))
    return Table(
        "Differences, paired on the same bootstrap samples",
        ("", *(METRIC_NAMES.get(metric, metric) for metric in metrics)),
        tuple(rows),
        "A difference is beyond chance where its interval does not hold 0. Points: "
        "percentage points. The best single network is chosen on these very test films, which "
        "favours it.",
    )


def _difference(difference: Difference | None, metric: str) -> Cell:
    if difference is None:
        return Cell("")
    found: Interval = difference.pooled or difference.over_trials
    cell = interval_cell(found, _unit(metric), signed=True)
    by_patient = difference.pooled_by_patient or difference.over_trials_by_patient
    if by_patient is None:
        return cell
    lines = interval_cell(by_patient, _unit(metric)).lines[:1]
    return Cell(
        cell.text, (*cell.lines, *(SmallLine(f"{line.text}, by patient") for line in lines))
    )


def _unit(metric: str) -> str:
    return "number" if metric in ("roc_auc", "pr_auc") else "points"


def _by_trial(comparison: Comparison) -> Table:
    row = comparison.row("ensemble")
    trials = row.trials if row is not None else ()
    return Table(
        "The ensemble in each trial",
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
    for row in after.rows:
        earlier = before.row(row.name)
        now, then = figures_of(row), None if earlier is None else figures_of(earlier)
        if now is None or then is None or not row.members:
            continue
        name = ROW_NAMES.get(row.name, row.name)
        rows.append((head(f"{name}, before"), *(metric_cell(metric, then) for metric in _SHOWN)))
        rows.append((head(f"{name}, after"), *(metric_cell(metric, now) for metric in _SHOWN)))
    return Table(
        "Before and after fine-tuning, on the same test films",
        ("", *(METRIC_NAMES[metric] for metric in _SHOWN)),
        tuple(rows),
    )
