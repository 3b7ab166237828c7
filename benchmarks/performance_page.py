"""Writes the tables of docs/performance.md from benchmarks/results; the prose stays as it is.

    python benchmarks/performance_page.py [--check]

A table stands between `<!-- results: NAME -->` and `<!-- end of results -->`. NAME is `goals`,
`served`, `machine`, or a benchmark: each of its results (`NAME.json`, and `NAME-*.json` of other
machines) is one group.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from measuring.record import RESULTS
from reports.archive import archive_table, formats_table
from reports.client import client_tables
from reports.ensemble import ensemble_tables, served_table
from reports.goals import goals_table
from reports.gpu import gpu_tables
from reports.node import node_tables
from reports.plain import plain_tables
from reports.preprocessing import preprocessing_tables
from reports.stages import footprint_table, soak_table, stages_tables
from reports.tables import Table, machine_table, to_markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
END = "<!-- end of results -->"
SECTION = re.compile(rf"(<!-- results: ([\w-]+) -->\n).*?({re.escape(END)})", re.DOTALL)
REPORTS: dict[str, Callable[[dict[str, Any]], list[Table]]] = {
    "ensemble": ensemble_tables,
    "stages": stages_tables,
    "soak": lambda result: [soak_table(result)],
    "gpu": gpu_tables,
    "footprint": lambda result: [footprint_table(result)],
    "preprocessing": preprocessing_tables,
    "client": client_tables,
    "node": node_tables,
    "archive": lambda result: [
        archive_table(result),
        *([formats_table(result["formats"])] if "formats" in result else []),
    ],
}

FROM_ENSEMBLE = {"served": served_table, "machine": machine_table}
"""Further sections that this machine's result of ensemble.py is shown in."""


def written(page: str, folder: Path) -> str:
    """The page with every table as the results say.

    Raises:
        ValueError: a section that is no benchmark, or a result that has no section.
    """
    names = [found[2] for found in SECTION.finditer(page)]
    if unknown := set(names) - {"goals", *FROM_ENSEMBLE, *REPORTS}:
        raise ValueError(f"no benchmark is named {', '.join(sorted(unknown))}")
    for path in folder.glob("*.json"):
        if path.stem.split("-")[0] not in {*names, "machine"}:
            raise ValueError(f"{path.name} has no section in the page")
    return SECTION.sub(
        lambda found: f"{found[1]}\n{_section(found[2], folder)}\n\n{found[3]}", page
    )


def _section(name: str, folder: Path) -> str:
    if name == "goals":
        results = {each: _read(path) for each in REPORTS for path in _results(folder, each)[:1]}
        return _under_its_heading(goals_table(results))
    if name in FROM_ENSEMBLE:
        path = folder / "ensemble.json"
        if not path.is_file():
            return _missing("ensemble")
        return _under_its_heading(FROM_ENSEMBLE[name](_read(path)))
    groups = []
    for path in _results(folder, name):
        result = _read(path)
        groups.append(f"{_where(result)}\n\n{_joined(_tables(name, result))}")
    return "\n\n".join(groups) or _missing(name)


def _under_its_heading(table: Table) -> str:
    """The table alone: the page's own heading says what it is."""
    return to_markdown(replace(table, title=""))


def _results(folder: Path, name: str) -> list[Path]:
    """The results of one benchmark, this machine's first."""
    return sorted(folder.glob(f"{name}.json")) + sorted(folder.glob(f"{name}-*.json"))


def _tables(name: str, result: dict[str, Any]) -> list[Table]:
    try:
        return REPORTS[name](result)
    except (KeyError, TypeError):  # of an older or newer script: better plain than not
        return plain_tables(result)


def _where(result: dict[str, Any]) -> str:
    machine = result.get("machine", {})
    place = ", ".join(machine.get("gpus") or []) or machine.get("cpu", "an unknown machine")
    if machine.get("device", "cpu") != "cpu":
        place = machine["device"]
    cores = f", {machine['cores']} cores" if "cores" in machine else ""
    unfinished = " Not finished." if result.get("complete") is False else ""
    date, commit = machine.get("date", "")[:10], machine.get("commit")
    return f"On {place}{cores}, {date}, commit {commit}.{unfinished}"


def _missing(name: str) -> str:
    return f"Not measured yet: `benchmarks/{name}.py` writes `benchmarks/results/{name}.json`."


def _joined(tables: list[Table]) -> str:
    return "\n\n".join(to_markdown(table) for table in tables)


def _read(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def main(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; 1 if it would.")] = False,
    page: Annotated[Path, typer.Option()] = PAGE,
    results: Annotated[Path, typer.Option()] = RESULTS,
) -> None:
    """Write the page, or say whether it is what the results say."""
    text = page.read_text(encoding="utf-8")
    wanted = written(text, results)
    if check:
        raise typer.Exit(0 if text == wanted else 1)
    page.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
