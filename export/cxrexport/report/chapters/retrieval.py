"""Nearest films: what a test film's neighbours say of it, and how far away they are."""

from __future__ import annotations

from collections.abc import Mapping

from cxrexport.evaluation.measures import Metric
from cxrexport.evaluation.retrieval import ByNeighbours, Distances, Retrieval, Source, Spread
from cxrexport.report.chapters.blocks import Block, Cell, Note, SmallLine, Table, Text
from cxrexport.report.chapters.numbers import METRIC_NAMES, NOTHING, head, metric_cell
from cxrexport.report.paper import DISTANCES, RETRIEVAL

_SHOWN: tuple[Metric, ...] = ("accuracy", "sensitivity", "specificity", "roc_auc")
_JUDGED_BY: dict[Source, tuple[str, str]] = {
    "predictions": (
        "their predictions",
        "by networks that learnt from these very films",
    ),
    "labels": ("their labels", ""),
    "out_of_fold": ("their out-of-fold predictions", "by networks that never saw them"),
}
_PAIRS = {
    "all": "all pairs",
    "positive_positive": "positive to positive",
    "negative_negative": "negative to negative",
    "between": "between the classes",
    "nearest": "query to its nearest film",
}


def retrieval_blocks(retrieval: Retrieval, *, asked: bool) -> tuple[Block, ...]:
    """The judgement by neighbours, with and without the query's own patient; distances.

    Args:
        retrieval: over the study.
        asked: whether the question is the paper's, so that its values stand beside ours.
    """
    if retrieval.reason is not None and not retrieval.judged:
        return (Note(f"There is no retrieval to report: {retrieval.reason}."),)
    pairs = sum(trial.same_patient_pairs for trial in retrieval.trials)
    same = (
        "No test film shares its patient with a training film, so the figures without films of "
        "the same patient are the same and are not repeated."
        if pairs == 0
        else f"{pairs} pairs of query and training film are of one patient; the lower half of the "
        "table leaves them out."
    )
    blocks: list[Block] = [
        Text(
            f"Queries are the test films, neighbours the {retrieval.neighbours} nearest training "
            "films of the same trial by Euclidean distance of the embeddings. The mean of "
            f"what is known of the neighbours is the query's score. {same}"
        ),
        _judged(retrieval, own_patients=pairs > 0, asked=asked),
    ]
    if retrieval.distances is not None:
        blocks.append(_distances(retrieval.distances, asked=asked))
    return tuple(blocks)


def _judged(retrieval: Retrieval, *, own_patients: bool, asked: bool) -> Table:
    rows = _rows(retrieval.judged, "", asked=asked)
    if own_patients:
        extra = "without films of the query's patient"
        rows += _rows(retrieval.judged_other_patients, extra, asked=asked)
    return Table(
        "Test films judged by their nearest training films",
        ("judged by the mean of", *(METRIC_NAMES[metric] for metric in _SHOWN)),
        tuple(rows),
    )


def _rows(
    judged: Mapping[Source, ByNeighbours], extra: str, *, asked: bool
) -> list[tuple[Cell, ...]]:
    rows = []
    for word, judgement in judged.items():
        name, remark = _JUDGED_BY[word]
        lines = [line for line in (remark, extra, judgement.reason) if line]
        if judgement.unjudged and not judgement.reason:
            lines.append(f"{judgement.unjudged} queries not judged")
        figures = judgement.figures
        if figures is None:
            rows.append((head(name, *lines), *(Cell(NOTHING) for _ in _SHOWN)))
            continue
        cells = []
        for metric in _SHOWN:
            beside = asked and word == "predictions" and metric in RETRIEVAL
            cells.append(metric_cell(metric, figures, (RETRIEVAL[metric],) if beside else ()))
        rows.append((head(name, *lines), *cells))
    return rows


def _distances(distances: Distances, *, asked: bool) -> Table:
    rows = []
    for pair, name in _PAIRS.items():
        spread: Spread = getattr(distances, pair)
        paper = DISTANCES.get(pair) if asked else None
        text = (
            NOTHING
            if spread.mean is None
            else f"{spread.mean:.2f}"
            if spread.sd is None
            else f"{spread.mean:.2f} ± {spread.sd:.2f}"
        )
        lines = [SmallLine(f"published: {paper.mean} ± {paper.sd}", paper=True)] if paper else []
        least = NOTHING if spread.least is None else f"{spread.least:.2f}"
        rows.append((head(name), Cell(text, tuple(lines)), Cell(least), Cell(f"{spread.pairs:,}")))
    return Table(
        "Distances of test films to training films",
        ("", "mean ± standard deviation", "least", "pairs"),
        tuple(rows),
        "A distance has no unit and depends on the network: compare the rows of a column, not "
        "the numbers of two reports.",
    )
