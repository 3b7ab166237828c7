"""A figure with what belongs to it: its name, its place in the report, its caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

Part = Literal[
    "comparison",
    "classification",
    "retrieval",
    "subgroups",
    "calibration",
    "audit",
    "lungs",
    "training",
]
"""The report's chapter that the figure stands in."""


@dataclass(frozen=True, eq=False)
class Plate:
    """One figure of the report, or why it is not there.

    Attributes:
        name: of its files, without suffix.
        part: of the report.
        title: what it shows.
        caption: how to read it.
        figure: None where the data lack what it needs.
        absent: why it is not there.
        films: made of films, so a picture rather than lines goes into the report.
        wide: takes the whole width of the page.
    """

    name: str
    part: Part
    title: str
    caption: str
    figure: Figure | None
    absent: str | None = None
    films: bool = False
    wide: bool = False
