"""What a chapter is made of; the template knows nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cxrexport.evaluation.measures import Interval
from cxrexport.report.plates import Plate


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class Note:
    """A paragraph that must not be read over."""

    text: str
    kind: Literal["note"] = "note"


@dataclass(frozen=True)
class Statement:
    """The verdict: the largest words of the report.

    Attributes:
        text: the sentence.
        code: its stable name.
        good: whether it speaks for the networks.
    """

    text: str
    code: str
    good: bool
    kind: Literal["statement"] = "statement"


@dataclass(frozen=True)
class Listing:
    """Points under a heading."""

    title: str
    items: tuple[str, ...]
    kind: Literal["listing"] = "listing"


@dataclass(frozen=True)
class Facts:
    """Names and values, for example digests."""

    title: str
    pairs: tuple[tuple[str, str], ...]
    kind: Literal["facts"] = "facts"


@dataclass(frozen=True)
class SmallLine:
    """A line below a cell's value; the study's own values stand apart from ours."""

    text: str
    paper: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell: a value, and small lines below it.

    Attributes:
        text: the value.
        lines: n of N, interval, the study's own value.
        head: names its row.
        interval: the numbers behind it, for the table's CSV; None where the text is all.
    """

    text: str
    lines: tuple[SmallLine, ...] = ()
    head: bool = False
    interval: Interval | None = None


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: what it shows, and of how many films.
        columns: headings, the first for the rows' names.
        rows: of as many cells.
        note: below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Gallery:
    """Figures, two beside each other where the page is wide enough."""

    plates: tuple[Plate, ...]
    kind: Literal["gallery"] = "gallery"


Block = Text | Note | Statement | Listing | Facts | Table | Gallery


@dataclass(frozen=True)
class Chapter:
    """A chapter; `anchor` is its address in the page."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]
