"""`cxrclient doctor`: does what is served here fit together?"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes, naming_options
from cxrclient.cli.options.archive import Access, with_access
from cxrclient.cli.options.server import ModelRepository, Secured, with_secured
from cxrclient.cli.terminal import cell, console, say

if TYPE_CHECKING:
    from cxrclient.serving import Check


_COLOURS = {"ok": "green", "note": "", "unverified": "yellow", "wrong": "red"}


@with_access
@with_secured
def doctor(
    model_repository: ModelRepository = None,
    uri: Annotated[
        str | None,
        typer.Option(help="An archive to look at too: FILE.db or http(s)://HOST:PORT."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(help="HOST:PORT (gRPC), or CXR_SERVER.", show_default="localhost:8001"),
    ] = None,
    *,
    secured: Secured,
    access: Access,
    output: Annotated[
        Literal["table", "json"],
        typer.Option("--format", help="table is for people, json for programs."),
    ] = "table",
) -> None:
    """Check that machine, repository, engines and running server fit together; say what to do.

    Also memory, disk, configuration file and patient key, and an archive where one is named.

    Exit code 1 if something is `wrong`. `unverified` and `note` are no fault: a CPU needs no plans,
    and an engine that no GPU has run yet may well be right.
    """
    with errors_as_exit_codes():
        from cxrclient.cli.operations.surroundings import (
            archive_checks,
            configuration_check,
            key_check,
        )
        from cxrclient.serving import examine, examine_room, find_repository
        from cxrclient.settings import client_settings
        from cxrclient.wire import Endpoint

        repository = find_repository(model_repository)
        settings = client_settings(server, **secured)
        # An address from the environment is as much wanted as one from the command line.
        wanted = "server" in settings.model_fields_set
        checks = examine(repository, Endpoint.of_settings(settings), server_wanted=wanted)
        served = any(each.subject.startswith("server") and each.verdict == "ok" for each in checks)
        checks += [*examine_room(repository, served=served), configuration_check(), key_check()]
        if uri is not None:
            checks += archive_checks(uri, access, _digest(repository))
        checks = [replace(each, finding=naming_options(each.finding)) for each in checks]
        wrong = sum(check.verdict == "wrong" for check in checks)
        if output == "json":
            record = {"wrong": wrong, "checks": [asdict(check) for check in checks]}
            typer.echo(json.dumps(record, indent=2, ensure_ascii=False))
        else:
            _print(checks, wrong)
    if wrong:
        raise typer.Exit(Exit.FAILED)


def _digest(repository: Path) -> str | None:
    from cxrclient.serving import read_record

    try:
        return read_record(repository).digest
    except (OSError, ValueError):  # said already
        return None


def _print(checks: list[Check], wrong: int) -> None:
    from rich import box
    from rich.table import Table

    table = Table("", "what", "found", box=box.SIMPLE)
    for check in checks:
        table.add_row(cell(check.verdict, _COLOURS[check.verdict]), check.subject, check.finding)
    console().print(table)
    for verdict, heading in (("wrong", "To fix"), ("unverified", "To verify, on the GPU node")):
        # Each once, and unbroken, so that it can be copied.
        mends = dict.fromkeys(c.mend for c in checks if c.verdict == verdict and c.mend)
        if mends:
            say(f"{heading}:", err=False)
        for mend in mends:
            say(f"  {mend}", err=False, lines=True)
    if not wrong:
        say("Nothing is wrong.", err=False)
