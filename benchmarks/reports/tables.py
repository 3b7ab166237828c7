"""Tables, for the terminal and for docs/performance.md alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NONE = "-"


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def digits(value: float | None, significant: int = 3) -> str:
    """A number as it is read: three digits, no exponent; NONE for None."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    rounded = float(f"{value:.{significant}g}")
    decimals = significant - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(decimals, 0)}f}"


def percent(share: float | None) -> str:
    """A share of 1 as a percentage."""
    return NONE if share is None else f"{100 * share:.0f} %"


def machine_table(result: dict[str, Any]) -> Table:
    """What the machine is, and its peak in each precision."""
    machine = result["machine"]
    rows = [
        ("processor", f"{machine['cpu']}, {machine['cores']} cores, {_sets(machine)}"),
        ("memory", f"{digits(machine['memory_gb'])} GB"),
        ("GPU", "; ".join(machine["gpus"]) or "none"),
        ("system", f"{machine['system']}, Python {machine['python']}"),
        ("packages", ", ".join(f"{k} {v}" for k, v in machine["versions"].items())),
        (
            "commit, date, load",
            f"{machine['commit']}, {machine['date'][:10]}, {machine['load']:.1f}",
        ),
    ]
    for precision, peak in result.get("peaks", {}).items():
        if peak["gmac_s"] is None:
            rows.append((f"convolution peak, {precision}", f"none: {peak['reason']}"))
        else:
            words = f"{digits(peak['gmac_s'])} GMAC/s ({peak['instructions']}; {peak['shape']})"
            rows.append((f"convolution peak, {precision}", words))
    return Table("The machine", ("", ""), rows)


def _sets(machine: dict[str, Any]) -> str:
    return " ".join(machine["instruction_sets"]) or "no instruction sets known"


def to_markdown(table: Table) -> str:
    """A table as Markdown, its title, where it has one, in bold, its notes as lines below."""
    lines = [f"**{table.title}**", ""] if table.title else []
    lines.append("| " + " | ".join(table.columns) + " |")
    lines.append("|" + "|".join(["---", *["---:"] * (len(table.columns) - 1)]) + "|")
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    for note in table.notes:
        lines += ["", note]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def print_table(console: Any, table: Table) -> None:
    """Print to a rich console."""
    from rich.table import Table as RichTable

    shown = RichTable(title=table.title, title_justify="left")
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if number else "left", no_wrap=not number)
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)
    for note in table.notes:
        console.print(note, highlight=False, markup=False)
