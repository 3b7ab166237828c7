"""How the networks do at a source that they never saw, and what a few of its films mend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cxrexport.evaluation.transfer import AtThreshold, Transfer
from cxrexport.report.chapters.blocks import Block, Cell, Listing, SmallLine, Table, Text
from cxrexport.report.chapters.numbers import NOTHING, ROW_NAMES, head, interval_cell, percent


def transfer_blocks(transfer: Sequence[Transfer]) -> tuple[Block, ...]:
    """AUC at each source, the thresholds as they travel, what films of the source mend."""
    blocks: list[Block] = [
        Text(
            "Each source was judged by networks that learnt from the others' films only. The order "
            "of the films (ROC AUC) is what such networks bring along. A threshold and the "
            "meaning of a probability often do not travel; both can be mended with films of the "
            "new source whose truth is known."
        ),
        _areas(transfer),
        _thresholds(transfer),
    ]
    if any(each.mended for each in transfer):
        blocks.append(_probabilities(transfer))
    if without := [f"{each.source}: {each.reason}" for each in transfer if each.reason]:
        blocks.append(Listing("What could not be measured", tuple(without)))
    return tuple(blocks)


def _areas(transfer: Sequence[Transfer]) -> Table:
    names = list(dict.fromkeys(name for each in transfer for name in each.roc_auc))
    return Table(
        "ROC AUC at a source that was left out",
        ("left out", "films", *(ROW_NAMES.get(name, name) for name in names)),
        tuple(
            (
                head(each.source, f"learnt from {', '.join(each.learnt_from)}"),
                Cell(
                    str(each.films),
                    (SmallLine(f"{each.positives} positive"), SmallLine(_patients(each))),
                ),
                *(interval_cell(each.roc_auc.get(name)) for name in names),
            )
            for each in transfer
        ),
        "Intervals resample the source's patients.",
    )


def _patients(each: Transfer) -> str:
    return f"{each.patients} patient{'' if each.patients == 1 else 's'}"


def _thresholds(transfer: Sequence[Transfer]) -> Table:
    rows = []
    for each in transfer:
        for how, at in _ways(each):
            rows.append(
                (
                    head(f"{each.source}: {at.name}", how),
                    Cell(NOTHING if at.threshold is None else f"{at.threshold:.3f}"),
                    Cell("", (SmallLine(at.chosen_on),)) if at.chosen_on else Cell(NOTHING),
                    interval_cell(at.sensitivity, "sensitivity"),
                    interval_cell(at.specificity, "specificity"),
                )
            )
    return Table(
        "Thresholds at a source that was left out",
        ("", "threshold", "chosen on", "Sensitivity", "Specificity"),
        tuple(rows),
        "As it travels: chosen on the other sources' validation films; intervals resample "
        "patients. Mended: the median over many draws of films, and the middle 95 % of the draws; "
        "no patient of a drawn film is judged. On its own films: what no hospital knows "
        "beforehand.",
    )


def _ways(each: Transfer) -> Iterator[tuple[str, AtThreshold]]:
    for at in each.travels:
        yield "as it travels", at
    if each.mended:
        films = each.mended.films
        yield f"mended: recalibrated with {films} films", each.mended.recalibrated
        yield f"mended: chosen anew on {films} films", each.mended.chosen_anew
    if each.own:
        yield "on its own films", each.own


def _probabilities(transfer: Sequence[Transfer]) -> Table:
    return Table(
        "Probabilities at a source that was left out: Brier score",
        ("left out", "as they travel", "recalibrated", "films that mend"),
        tuple(
            (
                head(each.source, f"{percent(each.positives / each.films)} positive"),
                interval_cell(each.mended.brier_before),
                interval_cell(each.mended.brier_after),
                Cell(str(each.mended.films), (SmallLine(f"{each.mended.draws} draws"),)),
            )
            for each in transfer
            if each.mended
        ),
        "Recalibrated: one number, fitted on the drawn films, is added to the log odds. Brier "
        "score: 0 is best, 0.25 what always saying 0.5 gives.",
    )
