"""`cxrexport build`: a run → a model repository."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from cxrclient.cli import console
from cxrexport.cli.exits import errors_as_exit_codes


def build(
    repository: Annotated[Path, typer.Option(help="The model repository to write.")],
    run: Annotated[Path | None, typer.Option(help="A trained run, e.g. runs/NAME.")] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Build untrained networks, for load tests.")
    ] = False,
    recipe: Annotated[
        str,
        typer.Option(
            help="With --random-weights: a name of `cxrexport recipe list`, or a YAML file."
        ),
    ] = "starter",
    manifest: Annotated[
        Path | None, typer.Option(help="Films for the parity report; phantoms by default.")
    ] = None,
    films: Annotated[int, typer.Option(min=1, help="How many films to measure parity on.")] = 20,
    operating_point: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Serve with this threshold of the run's calibration, e.g. sensitivity95.",
            show_default="the threshold 0.5",
        ),
    ] = None,
    weights: Annotated[
        Literal["fp16", "int8"],
        typer.Option(
            help="How the members' weights are stored. int8 (a scale for each output channel) "
            "takes half the bytes of fp16; the graphs compute in fp32 either way."
        ),
    ] = "fp16",
    evaluation: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="What `cxrexport evaluate` or `study` found for the run's recipe: is said "
            "wherever a probability of these networks is shown.",
        ),
    ] = None,
    admission: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="CSV",
            help="Fit the gate to these films, as `cxrexport admission` does. Repeatable.",
        ),
    ] = None,
) -> None:
    """Write the graphs as ONNX, the configuration, and a report of how close they are to torch.

    If the run has a calibration.json, its temperatures and operating points are built in.
    """
    if (run is None) != random_weights:
        raise typer.BadParameter("give either --run or --random-weights")
    if operating_point is not None and run is None:
        raise typer.BadParameter("random weights have no operating points", param_hint="--run")
    if evaluation is not None and run is None:
        raise typer.BadParameter("random weights were not evaluated", param_hint="--run")
    if admission and run is None:
        raise typer.BadParameter("random weights know no films", param_hint="--admission")
    with errors_as_exit_codes():
        from rich.table import Table

        from cxrexport.light_start import import_monai

        import_monai()
        from cxrclient.files import MemoryUse, keep_freed_memory
        from cxrexport.build import (
            build as build_repository,
            random_networks,
            starting_weights,
            trained_networks,
        )
        from cxrexport.engines.films import parity_films
        from cxrexport.errors import CheckpointError
        from cxrexport.evaluation.calibration.of_run import load_calibration, served_calibration
        from cxrexport.evaluation.in_words import evidence_in_words
        from cxrexport.repository import read_repository
        from cxrexport.training.recipe import load_recipe
        from cxrexport.training.run import Run

        keep_freed_memory(MemoryUse.TENSORS)
        _quiet_torch()
        calibration, starting = None, None
        if run is not None:
            opened = Run.open(run)
            fitted = load_calibration(opened)
            if fitted is not None:
                calibration = served_calibration(fitted, opened.recipe.served, operating_point)
            elif operating_point is not None:
                raise CheckpointError(
                    f"{run} has no calibration.json, so it has no operating points. Make it with "
                    f"`cxrexport evaluate --run {run}`."
                )
            used, networks = opened.recipe, trained_networks(opened)
            starting = starting_weights(opened)
        else:
            used = load_recipe(recipe)
            networks = random_networks(used)
        evidence = "" if evaluation is None else evidence_in_words(evaluation, used)
        name = used.name if run is not None else f"{used.name}-random"
        images = parity_films(used.spec, films, manifest).images
        with _what_it_is_at():
            parity = build_repository(
                networks,
                used,
                repository,
                images,
                model_name=name,
                calibration=calibration,
                starting=starting,
                weights=weights,
                evidence=evidence,
            )

        table = Table("torch ↔ ONNX", "largest difference", title=f"Parity over {films} films")
        for member, value in parity.members.items():
            table.add_row(f"probability, {member}", f"{value:.1e}")
        table.add_row("probability, ensemble", f"{parity.probability:.1e}")
        table.add_row(f"(rounding weights to {weights}, torch ↔ torch)", f"{parity.rounding:.1e}")
        table.add_row("embedding, relative", f"{parity.embedding:.1e}")
        table.add_row("lungs", f"{parity.lungs:.1e}")
        table.add_row("heatmap", f"{parity.heatmap:.1e}")
        out = console()
        out.print(table)
        size = sum(path.stat().st_size for path in repository.glob("*/1/model.onnx"))
        out.print(f"{repository}: graphs of {size / 1e6:.1f} MB in all")
        out.print(read_repository(repository)[0].judgement)
        if admission:
            from cxrexport.evaluation.gate import fit_admission

            known = fit_admission(repository, admission)
            out.print(f"The gate knows {known.films} films of {known.patients} patients.")
        elif run is not None:
            out.print(
                "The gate judges by headers, rectangles and writing only. To show it the run's "
                f"films: `cxrexport admission --repository {repository} --manifest CSV`."
            )


@contextmanager
def _what_it_is_at() -> Iterator[None]:
    """Show on a terminal what `cxrexport.build` logs that it is at; elsewhere, no line of that."""
    talk = console(stderr=True)
    logger = logging.getLogger("cxrexport.build")
    with talk.status("building") as status:

        class Shown(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.levelno > logging.INFO:
                    talk.print(self.format(record))
                else:
                    status.update(self.format(record))

        handler, level = Shown(), logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


def _quiet_torch() -> None:
    """Keep torch's exporter from warning, graph by graph, of parts that are not used here."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"torch\.onnx|copyreg")
