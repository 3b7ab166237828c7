"""`cxrclient node check`: is all there that a node needs?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes, naming_options
from cxrclient.cli.node.options import node_options, with_asked
from cxrclient.cli.options.server import Secured, with_secured
from cxrclient.cli.terminal import cell, console, say

_COLOURS = {"ok": "green", "note": "yellow", "wrong": "red"}


@with_secured
@with_asked
def check(
    *,
    asked: dict[str, Any],
    secured: Secured,
    output: Annotated[
        Literal["table", "json"],
        typer.Option("--format", help="table is for people, json for programs."),
    ] = "table",
) -> None:
    """Check all that `node run` with the same options needs: a line each, and what to do.

    Triton, each peer (C-ECHO or QIDO-RS), the spool and its disk, the archive, certificates and
    when they end, ports. Nothing is changed, also beside a node that runs.

    Exit code 0 where nothing is `wrong`, else 5.
    """
    with errors_as_exit_codes():
        options = node_options(asked, secured)
        from cxrclient.node import check_node

        found = []
        for each in check_node(options):
            found.append(each)
            if output == "table":
                line = cell(f"{each.verdict:<7}", _COLOURS.get(each.verdict, ""))
                line.append_text(cell(f"{each.subject}: {naming_options(each.finding)}"))
                console().print(line, soft_wrap=True)
                if each.mend:
                    say(f"       {naming_options(each.mend)}", err=False)
        wrong = sum(each.verdict == "wrong" for each in found)
        if output == "json":
            record = {"wrong": wrong, "checks": [asdict(each) for each in found]}
            typer.echo(json.dumps(record, indent=2, ensure_ascii=False))
        elif not wrong:
            say("Nothing is wrong.", err=False)
    if wrong:
        raise typer.Exit(Exit.NO_SERVER)
