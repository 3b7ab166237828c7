"""`cxrclient node status` and `retry`: how a spool stands, and what failed tried again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cxrclient.cli.exits import errors_as_exit_codes, naming_options
from cxrclient.cli.node.options import SpoolFolder, require_extra
from cxrclient.cli.terminal import cell, console, say

_NOW = "Now:"
_GIVEN_UP = "Given up, until `cxrclient node retry`:"
_WAITS = "Tried again by itself, for ever:"
_REMOVED = "Given up, and the files were removed after --keep-days, so nothing is left to try:"
_SEEN = "To know, of the last 7 days:"
# What each kind of trouble is called, under its heading, in the order in which they are shown.
_KINDS = {
    ("spool", "failed"): (_NOW, "the spool's disk", "red"),
    ("film", "failed"): (_GIVEN_UP, "failed films", "red"),
    ("delivery", "refused"): (_GIVEN_UP, "refused results", "red"),
    ("film", "waiting"): (_WAITS, "films", "yellow"),
    ("delivery", "waiting"): (_WAITS, "results", "yellow"),
    ("film", "removed"): (_REMOVED, "failed films", ""),
    ("delivery", "removed"): (_REMOVED, "refused results", ""),
    ("note", "note"): (_SEEN, "seen", ""),
    ("delivery", "delivered"): (_SEEN, "delivered results", ""),
    ("film", "rejected"): (_SEEN, "films turned away", ""),
    ("film", "ok"): (_SEEN, "analysed films", ""),
}
# States, as people call them; the bad one is last.
_FILMS = {
    "waiting": "to analyse",
    "analysed": "to deliver",
    "done": "done",
    "removed": "removed",
    "failed": "failed",
}
_RESULTS = {
    "waiting": "to deliver",
    "delivered": "delivered",
    "removed": "removed",
    "refused": "refused",
}
_RECENT_S = 7 * 24 * 3600
_SHOWN = 20
"""Kinds of trouble that are shown; --format json has all."""


def status(
    spool: SpoolFolder,
    output: Annotated[
        Literal["table", "json"],
        typer.Option("--format", help="table is for people, json for programs."),
    ] = "table",
) -> None:
    """Show how films and results of a node stand, and each trouble with what to do.

    It reads the spool, beside a node that runs or without one. Equal troubles are one, with their
    number. json has all of them, and the latest rows.
    """
    with errors_as_exit_codes():
        require_extra()
        from cxrclient.node import spool_status

        found = spool_status(spool)
        if output == "json":
            typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
            return
        _print(spool, found)


def retry(
    spool: SpoolFolder,
    delivered_since: Annotated[
        datetime | None,
        typer.Option(
            metavar="DATE",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="Also bring again what was delivered since then: each peer is asked, and gets "
            "what it lacks.",
        ),
    ] = None,
) -> None:
    """Try films that failed, and results that a peer refused, again at once; and all that wait.

    Films whose files were removed after --keep-days are not tried.

    A node that runs takes them up within a second or two; without one, the next does.
    """
    with errors_as_exit_codes():
        require_extra()
        from cxrclient.node import is_held, retry as try_again

        many = try_again(spool, None if delivered_since is None else delivered_since.timestamp())
        what = "1 film or delivery" if many == 1 else f"{many} films and deliveries"
        say(f"{what} had ended, and will be tried again.", err=False)
        if not is_held(spool):
            say(f"No node works with {spool} now: start it with `cxrclient node run`.")


def _print(spool: Path, found: Mapping[str, Any]) -> None:
    running = found["running"]
    whose = cell("a node works with it", "green") if running else cell("no node runs", "yellow")
    console().print(cell(f"Spool {spool}: ").append_text(whose))
    _print_numbers("", {"films": found["films"]}, _FILMS)
    if found["deliveries"]:
        _print_numbers("results to", found["deliveries"], _RESULTS)
    if found["films"].get("waiting") and running:
        say("Films wait: `cxrclient node check` tells whether Triton is there.", err=False)
    again = sum(n for name, n in found["counts"].items() if name.endswith(":again"))
    if again:
        say(f"Came again, and were kept once: {again}.", err=False)
    _print_causes(found["causes"], running=running)


def _print_numbers(
    title: str, rows: Mapping[str, Mapping[str, int]], states: Mapping[str, str]
) -> None:
    """A table of how many are in each state; those that were given up are red."""
    from rich import box
    from rich.table import Table

    table = Table(title, box=box.SIMPLE, pad_edge=False)
    for name in states.values():
        table.add_column(name, justify="right")
    table.columns[0].overflow = "fold"
    bad = list(states)[-1]
    for row, numbers in sorted(rows.items()):
        cells = []
        for state in states:
            number = numbers.get(state, 0)
            style = "dim" if not number else "bold red" if state == bad else ""
            cells.append(cell(f"{number:,}", style))
        table.add_row(cell(row), *cells)
    console().print(table)


def _print_causes(causes: list[dict[str, Any]], *, running: bool) -> None:
    order = list(_KINDS)
    since = time.time() - _RECENT_S
    fresh = [each for each in causes if each["at"] >= since or _KINDS[_kind(each)][0] != _SEEN]
    ranked = sorted(fresh, key=lambda each: (order.index(_kind(each)), -each["at"]))
    if not ranked:
        say("No trouble.", err=False)
    under = ""
    for each in ranked[:_SHOWN]:
        heading, name, colour = _KINDS[_kind(each)]
        if heading != under:
            under = heading
            say(heading, err=False, bold=True)
        said = cell(f"  {each['code']}", f"bold {colour}".strip())
        said.append_text(
            cell(f"  {name}: {each['count']:,}{_who(each)}, {_when(each, running=running)}")
        )
        lines = [
            said,
            cell(f"      {each['message'] or _meaning(each['code'])}"),
            cell(f"      {naming_options(each['do'])}"),
        ]
        if each["uid"]:
            latest = "the latest" if each["count"] > 1 else "object"
            lines.append(cell(f"      {latest}: {each['uid']}", "dim"))
        for line in lines:
            console().print(line, soft_wrap=True)
    if left := len(causes) - len(ranked[:_SHOWN]):
        say(f"More, or older: {left}. --format json has them.", err=False)


def _kind(cause: Mapping[str, Any]) -> tuple[str, str]:
    kind = (cause["what"], cause["state"])
    return kind if kind in _KINDS else (cause["what"], "ok" if cause["what"] == "film" else "note")


def _who(cause: Mapping[str, Any]) -> str:
    if not cause["who"]:
        return ""
    return f", {'to' if cause['what'] == 'delivery' else 'from'} {cause['who']}"


def _when(cause: Mapping[str, Any], *, running: bool) -> str:
    first, last = (f"{datetime.fromtimestamp(cause[at]):%Y-%m-%d %H:%M}"
                   for at in ("first_at", "at"))  # fmt: skip
    said = last if first == last else f"{first} to {last}"
    if running and cause["next_at"] is not None:
        due = cause["next_at"] <= time.time()
        when = "in its turn" if due else f"{datetime.fromtimestamp(cause['next_at']):%H:%M:%S}"
        said += f", next try {when}"
    return said


def _meaning(code: str) -> str:
    from cxrclient.node import NOTES

    return NOTES[code][0] if code in NOTES else ""
