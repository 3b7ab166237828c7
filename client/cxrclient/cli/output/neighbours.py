"""The answer of `cxrclient similar`, as a line of JSON and as a table."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from cxrclient.cli.terminal import cell, console, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cxrclient.archive import Consensus, Neighbour

# Columns of the table anyway.
_ELSEWHERE = ("label", "label_source", "probability", "days", "patient_key", "id")


@dataclass(frozen=True)
class SimilarFilms:
    """What was asked and found.

    Attributes:
        title: of the table.
        query: what is known of the film, for the line of JSON.
        neighbours: nearest first.
        left_out: ids of films that were left out because they are the query.
        positive: the name of the positive label; None where no server said it.
        threshold: above which a prediction is positive.
        notice: for people.
        columns: that the films were filtered by, to be shown.
        files: id of a film → its file, where that is known.
    """

    title: str
    query: dict[str, Any]
    neighbours: Sequence[Neighbour]
    left_out: Sequence[str]
    positive: str | None
    threshold: float
    notice: str
    columns: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def consensus(self) -> Consensus | None:
        """What the neighbours say together."""
        from cxrclient.archive import consensus

        return consensus(self.neighbours, self.threshold)

    def record(self) -> dict[str, Any]:
        """As one line of JSON."""
        together = self.consensus
        return self.query | {
            "neighbours": [
                {
                    "id": n.id,
                    "distance": n.distance,
                    "label": n.label,
                    "label_source": n.label_source,
                    "probability": n.probability,
                    "patient_key": n.patient_key,
                    "study_uid": n.study_uid,
                    "days": n.days,
                    "metadata": dict(n.metadata),
                    **({"file": self.files.get(n.id)} if self.files else {}),
                }
                for n in self.neighbours
            ],
            "mean_probability": together.mean_probability if together else None,
            "consensus": asdict(together) if together else None,
            "left_out": list(self.left_out),
            "notice": self.notice,
        }


def print_table(answer: SimilarFilms) -> None:
    """As a table on stdout."""
    from rich.table import Table
    from rich.text import Text

    positive = f"p({answer.positive})" if answer.positive else "probability"
    table = Table(
        title=cell(answer.title),
        caption=Text(_caption(answer, positive)),
        title_justify="left",
        caption_justify="left",
    )
    for name in ("", "distance", positive):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("label", "label from"):
        table.add_column(name, no_wrap=True)
    table.add_column("days", justify="right", no_wrap=True)
    others = [name for name in dict.fromkeys(answer.columns) if name not in _ELSEWHERE]
    for name in others:
        table.add_column(cell(name), overflow="fold")
    table.add_column("patient key", overflow="fold")
    table.add_column("id", overflow="fold")
    if answer.files:
        table.add_column("file", overflow="fold")
    for rank, n in enumerate(answer.neighbours, 1):
        table.add_row(
            str(rank),
            f"{n.distance:.3f}",
            "" if n.probability is None else f"{n.probability:.3f}",
            n.label or "",
            n.label_source or "",
            "" if n.days is None else f"{n.days:g}",
            *(_text(n.metadata.get(name)) for name in others),
            (n.patient_key or "")[:8],
            n.id,
            *([answer.files.get(n.id, "")] if answer.files else []),
        )
    width = None if sys.stdout.isatty() else 160
    console(width=width).print(table)


def _text(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _caption(answer: SimilarFilms, positive: str) -> str:
    together = answer.consensus
    if together is None:
        return shown(answer.notice)
    labels = ", ".join(f"{count} {label}" for label, count in together.labels.items())
    found = (
        f"Mean {positive} of these films: {together.mean_probability:.3f}, standard deviation "
        f"{together.spread:.3f}; {together.share_positive:.0%} above {answer.threshold:g}. "
        f"Labels: {labels or 'none'}."
    )
    return f"{shown(found)}\n{shown(answer.notice)}"
