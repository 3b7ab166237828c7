"""`cxrexport check`: proves that a model repository is whole and is what it says."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxrclient.cli import console, say
from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.cli.options.repository import Repository

if TYPE_CHECKING:
    from cxrclient.serving import Fault
    from cxrexport.repository import PlanNeeded


def check(
    repository: Repository = "model_repository",
    output: Annotated[
        Literal["table", "json", "commands"],
        typer.Option(
            "--format", help="commands prints only what a GPU node has to run (pipe it to sh)."
        ),
    ] = "table",
) -> None:
    """Compare a repository with its own spec and hashes, and name what a GPU node still lacks.

    Exit code 0 if nothing is wrong. A missing TensorRT plan is named but is no fault, because plans
    are not part of a repository. A plan that was built from another graph is a fault.
    """
    with errors_as_exit_codes():
        from cxrclient.serving import find_repository
        from cxrexport.repository import (
            check_repository,
            graph_files,
            graphs_can_be_opened,
            plans_needed,
            read_repository,
        )

        place = find_repository(repository)
        spec, _, digest = read_repository(place)
        # A GPU node that serves has no onnx, and for the commands hashes are enough.
        opened = output != "commands" and graphs_can_be_opened()
        problems = check_repository(place, open_graphs=opened)
        plans = plans_needed(place)
        graphs = graph_files(place, spec)
        sizes = {name: path.stat().st_size for name, path in graphs.items() if path.is_file()}
        if output == "json":
            result: dict[str, Any] = {
                "model_name": spec.model_name,
                "model_digest": digest,
                "threshold": spec.threshold,
                "calibration": spec.to_dict()["calibration"],
                "weights": spec.weights,
                "finding": spec.to_dict().get("finding"),
                "graph_bytes": sizes,
                "graphs_opened": opened,
                "problems": [asdict(problem) for problem in problems],
                "plans_needed": [asdict(plan) for plan in plans],
            }
            typer.echo(json.dumps(result, indent=2))
        elif output == "commands":
            mended = {plan.file for plan in plans}  # by this very command
            problems = [problem for problem in problems if problem.file not in mended]
            for problem in problems:
                say(f"{problem.file} {problem.what}")
            for command in dict.fromkeys(plan.command for plan in plans):
                typer.echo(command)
        else:
            say(f"{place}: model {spec.model_name}, digest {digest}", err=False)
            say(spec.judgement, err=False)
            if spec.finding is not None:
                say(f"The positive label is the finding {spec.finding}.", err=False)
            for point in () if spec.calibration is None else spec.calibration.points:
                remark = f" ({point.reason})" if point.reason else ""
                say(f"  {point.name}: above {point.threshold:.4g}{remark}", err=False)
            _print_tables(sizes, problems, plans)
            if not opened:
                say(
                    "Only the hashes of the graphs were compared, because onnx is not installed. "
                    "To open the graphs too, run `pip install '.[train]'` in a checkout of "
                    "cxr-triton, or the same with the path of its wheel in place of the dot."
                )
    if problems:
        raise typer.Exit(1)


def _print_tables(sizes: dict[str, int], problems: list[Fault], plans: list[PlanNeeded]) -> None:
    from rich import box
    from rich.table import Table

    out = console()
    table = Table(box=box.SIMPLE)
    table.add_column("graph")
    table.add_column("MB", justify="right")
    for graph, size in sizes.items():
        table.add_row(graph, f"{size / 1e6:.2f}")
    table.add_section()
    table.add_row("together", f"{sum(sizes.values()) / 1e6:.2f}")
    out.print(table)
    if problems:
        out.print(f"{len(problems)} problem(s). To mend them, build again what they name:")
        for problem in problems:  # whole, for there are commands in it
            say(f"  {problem.file}: {problem.what}", err=False)
    else:
        out.print("Configuration, graphs and digests are as they were built.")
    if plans:
        out.print(
            f"\nA GPU node still lacks {len(plans)} TensorRT plan(s), or has some that do not fit. "
            "Build them on that node, with its server's TensorRT (`--format commands` prints this "
            "alone):\n"
        )
        for command in dict.fromkeys(plan.command for plan in plans):
            say(f"  {command}", err=False)
