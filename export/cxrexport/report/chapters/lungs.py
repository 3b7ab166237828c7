"""How well the lung network finds the lungs."""

from __future__ import annotations

from cxrexport.evaluation.lungs import LungFigures, LungGroup
from cxrexport.report.chapters.blocks import Block, Cell, Note, Table, Text
from cxrexport.report.chapters.numbers import head, interval_cell


def lung_blocks(lungs: LungFigures) -> tuple[Block, ...]:
    """Dice and Hausdorff distance by source; the worst films by their line in the manifest."""
    if lungs.all is None:
        return (Note("No test film has a lung mask, so nothing can be measured."),)
    groups = [*lungs.by_source, lungs.all] if len(lungs.by_source) > 1 else [lungs.all]
    blocks: list[Block] = [
        Text(
            "The lung network's mask (probability of 0.5 or more) beside the reader's, at the "
            "film's own size, on test films. One that was trained in each trial did not learn from "
            "their masks."
        ),
        Table(
            "Lungs by source",
            ("source", "films", "Dice", "median", "HD95, % of the diagonal", "median"),
            tuple(_row(group) for group in groups),
            "Dice: overlap, 1 is perfect. HD95: 95th percentile of the distances between the two "
            "outlines, in per cent of the film's diagonal. Intervals resample patients.",
        ),
    ]
    if lungs.worst:
        blocks.append(
            Table(
                "Films to look at: lowest Dice first",
                ("line of the manifest", "Dice", "HD95, % of the diagonal"),
                tuple(
                    (head(str(film.row)), Cell(f"{film.dice:.3f}"), Cell(f"{film.hausdorff95:.1f}"))
                    for film in lungs.worst
                ),
            )
        )
    return tuple(blocks)


def _row(group: LungGroup) -> tuple[Cell, ...]:
    return (
        head("all films" if group.source is None else group.source),
        Cell(str(group.films)),
        interval_cell(group.dice),
        Cell(f"{group.dice_median:.3f}"),
        _one_decimal(group),
        Cell(f"{group.hausdorff95_median:.1f}"),
    )


def _one_decimal(group: LungGroup) -> Cell:
    found = group.hausdorff95
    if found.value is None or found.low is None or found.high is None:
        return interval_cell(found, "number")
    ends = f"{found.low:.1f}\N{EN DASH}{found.high:.1f}"
    return Cell(f"{found.value:.1f}", head("", ends).lines)
