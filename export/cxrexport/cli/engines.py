"""`cxrexport engines`: graphs → TensorRT plans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrclient.cli import console
from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.cli.options.repository import Repository

if TYPE_CHECKING:
    from cxrexport.engines.plans import EnginesBuilt


def engines(
    repository: Repository = "model_repository",
    flavour: Annotated[
        Literal["tensorrt"], typer.Option(help="The library that builds; there is one.")
    ] = "tensorrt",
    precision: Annotated[
        Literal["fp16", "bf16", "fp32"],
        typer.Option(help="Precision of the convolutions; everything else is fp32."),
    ] = "fp16",
    arch: Annotated[
        Literal["current", "ampere+"],
        typer.Option(help="current: the GPU of this machine. ampere+: every GPU from Ampere on."),
    ] = "current",
    max_batch: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Most films in one inference.", show_default="as configured"
        ),
    ] = None,
    preferred_batch: Annotated[
        int | None,
        typer.Option(min=1, help="The batch to tune for.", show_default="the largest"),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Films to measure parity on; by default one of pydicom-data, and drawn ones.",
        ),
    ] = None,
    films: Annotated[
        int, typer.Option(min=0, help="How many films to measure parity on; 0 for none.")
    ] = 20,
    force: Annotated[
        bool, typer.Option("--force", help="Build all again, even those that fit.")
    ] = False,
) -> None:
    """Build the plans that are missing or do not fit, each with a passport beside it.

    Run it on the GPU node, with the TensorRT of its Triton server. The passport records the graph,
    GPU, TensorRT and precision of a plan, and how far its answers are from the fp32 graph's.
    `cxrclient doctor` reads it.
    """
    with errors_as_exit_codes():
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from cxrclient.serving import find_repository
        from cxrexport.engines.films import parity_films
        from cxrexport.engines.plans import build_engines
        from cxrexport.engines.request import EngineRequest
        from cxrexport.repository import read_repository

        place = find_repository(repository)
        spec = read_repository(place)[0].preprocessing
        request = EngineRequest(
            repository=place,
            architecture=arch,
            precision=precision,
            max_batch=max_batch,
            preferred_batch=preferred_batch,
            force=force,
        )
        so_far = (TimeElapsedColumn(), TextColumn("so far"))
        columns = (TextColumn("{task.description:>10}"), BarColumn(), *so_far)
        with Progress(*columns, console=console(stderr=True)) as bars:
            tasks = {}

            def show(graph: str, share: float) -> None:
                if graph not in tasks:
                    tasks[graph] = bars.add_task(graph, total=1.0)
                bars.update(tasks[graph], completed=share)

            done = build_engines(
                request, (lambda: parity_films(spec, films, manifest)) if films else None, show
            )
        _print(done, place)


def _print(done: EnginesBuilt, place: Path) -> None:
    from rich import box
    from rich.table import Table

    out = console()
    table = Table("graph", "precision", "for", "MB", "s", "built because it was", box=box.SIMPLE)
    for graph, passport in done.passports.items():
        kept = graph not in done.built
        table.add_row(
            graph,
            passport.precision,
            passport.architecture
            + (f" ({passport.compute_capability})" if passport.compute_capability else ""),
            f"{passport.engine_bytes / 1e6:.1f}",
            "" if kept else f"{passport.build_s:.1f}",
            "kept" if kept else done.built[graph],
        )
    out.print(table)
    first = next(iter(done.passports.values()))
    out.print(f"{place}: TensorRT {first.tensorrt_version}")
    if first.parity is not None:
        out.print(f"On this GPU, against the fp32 graphs: {first.parity}")
    else:
        out.print(f"The engines' own answers are unverified: {first.parity_reason}.")
    if first.emulated_parity is not None:
        out.print(f"{first.precision} emulated in ONNX Runtime: {first.emulated_parity}")
