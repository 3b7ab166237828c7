"""Where a film's time goes in the server, stage by stage, and how it grows.

    python benchmarks/stages.py [--scenario starter] [--scenario paper] [--precision f32] [--full]

From Triton's own statistics: each stage called by itself, then inside the ensemble with one film
and with eight in flight. In the ensemble the four backbones take turns at the cores, and the time
that one waits for its turn is in its own `infer`; what a stage costs is what it costs by itself.
Then the growth of cost with the film's size. With the films in flight: ensemble.py --full.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tritonclient.grpc as triton
import typer
from material import BUILD, SCENARIOS, build, payloads
from measuring import statistics_api
from measuring.gmac import repository_gmac
from measuring.hardware import describe
from measuring.record import RESULTS, write_result
from measuring.server import Server, predict_all
from reports.stages import stages_tables
from reports.tables import print_table
from rich.console import Console

from cxrclient import CxrClient
from cxrclient.films import read_film
from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.manifest import read_manifest
from cxrexport.phantom import write_phantoms
from cxrexport.repository import ADMISSION, PREPROCESS, RepositorySpec, read_repository

STAGES = (PREPROCESS, *graphs_of(DEFAULT_MEMBERS), ADMISSION)
SIDES_PX = (512, 1024, 2048, 3000)


class Probe:
    """A server, and the few ways in which it is asked."""

    def __init__(self, server: Server, spec: RepositorySpec, films: list[bytes]) -> None:
        self._server, self._spec, self._films = server, spec, films

    def alone(self, stage: str, seconds: float, film: bytes | None = None) -> dict[str, Any]:
        """Call one model by itself, one film at a time, for about so long."""
        client = triton.InferenceServerClient(self._server.address)
        inputs = self._inputs(stage, film or self._films[0])
        try:
            return self._watched(lambda: _repeat(lambda: client.infer(stage, inputs), seconds))[
                stage
            ]
        finally:
            client.close()

    def ensemble(self, films: list[bytes], inflight: int) -> dict[str, Any]:
        """Send films through the whole ensemble; every stage, and `wall_s`.

        Raises:
            FilmError: a film has no prediction.
        """
        with CxrClient(self._server.address, jobs=inflight) as client:
            begin = time.perf_counter()
            stages = self._watched(lambda: predict_all(client, films))
            wall_s = time.perf_counter() - begin
        return {"wall_s": wall_s, "films": len(films), "stages": stages}

    def _watched(self, call: Callable[[], object]) -> dict[str, Any]:
        before = statistics_api.read(self._server.http_address)
        call()
        after = statistics_api.read(self._server.http_address)
        done = statistics_api.between(before, after)
        return {name: {**asdict(one), "batch": one.batch} for name, one in done.items()}

    def _inputs(self, stage: str, film: bytes) -> list[Any]:
        random, inputs = np.random.default_rng(0), []
        for tensor in self._spec.edges(stage).inputs:
            shape = (1, *tensor.dims)
            if tensor.dtype == "STRING":
                text = film if tensor.name == "IMAGE" else b"[]"  # else HEADER_FLAGS
                values, kind = np.array([[text]], dtype=np.object_), "BYTES"
            else:
                values, kind = random.random(shape, dtype=np.float32), "FP32"
            value = triton.InferInput(tensor.name, list(shape), kind)
            value.set_data_from_numpy(values)
            inputs.append(value)
        return inputs


def _repeat(call: Callable[[], object], seconds: float) -> None:
    end = time.perf_counter() + seconds
    call()
    while time.perf_counter() < end:
        call()


def film_of(side_px: int) -> bytes:
    """A drawn film of that longer side, as the client sends it."""
    folder = BUILD / "films" / f"one-{side_px}"
    if not (folder / "manifest.csv").is_file():
        write_phantoms(1, folder, seed=4, size_px=side_px)
    return read_film(read_manifest(folder / "manifest.csv")[0].image).payload


def stages_of(probe: Probe, seconds: float, count: int) -> dict[str, Any]:
    """Every stage by itself, then all of them with one film and with eight in flight."""
    films = (payloads() * count)[:count]
    probe.ensemble(films[:1], 1)
    return {
        "alone": {stage: probe.alone(stage, seconds) for stage in STAGES},
        "in_ensemble": {
            "1": probe.ensemble(films[: max(1, count // 2)], 1),
            "8": probe.ensemble(films, 8),
        },
    }


def growth_of(probe: Probe, seconds: float) -> list[dict[str, Any]]:
    """Cost over the film's size."""
    by_size = []
    for side_px in SIDES_PX:
        film = film_of(side_px)
        whole = probe.ensemble([film] * 4, 1)
        by_size.append(
            {
                "side_px": side_px,
                "megabytes": len(film) / 1e6,
                "preprocess_ms": probe.alone(PREPROCESS, seconds, film)["infer_ms"],
                "film_ms": 1e3 * whole["wall_s"] / 4,
            }
        )
    return by_size


def main(
    scenario: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SCENARIOS)}.")] = None,
    precision: Annotated[str, typer.Option(help="f32, bf16 or int8.")] = "f32",
    full: Annotated[bool, typer.Option("--full", help="Longer, and growth of all.")] = False,
    brief: Annotated[bool, typer.Option("--brief", help="A smoke run: a few films.")] = False,
    output: Annotated[Path, typer.Option(help="Result, JSON.")] = RESULTS / "stages.json",
) -> None:
    """Measure, print, write. The growth is measured on `starter`, with `--full` on all."""
    console, talk = Console(width=140), Console(stderr=True, highlight=False)
    result: dict[str, Any] = {
        "benchmark": "stages",
        "machine": describe(),
        "precision": precision,
        "scenarios": [],
    }
    for name in scenario or ["starter", "paper" if full else "paper-512"]:
        talk.print(f"{name}: building, where it is not there ...")
        entry: dict[str, Any] = {"name": name}
        result["scenarios"].append(entry)
        try:
            built = build(SCENARIOS[name], precision)
            entry["gmac"] = repository_gmac(built.repository)
            small = name == "starter"
            seconds = (0.1 if brief else 1.0) * (5 if full else 1)
            count = 2 if brief else (16 if small or full else 4)
            with Server(built.repository, precision) as server:
                probe = Probe(server, read_repository(built.repository)[0], payloads())
                entry |= stages_of(probe, seconds, count)
                if full or small:
                    entry["by_size"] = growth_of(probe, seconds / 2)
        except Exception as error:
            entry["failed"] = f"{type(error).__name__}: {error}"
            talk.print(f"{name} failed: {error}", style="red", markup=False)
        write_result(output, result)
    for table in stages_tables(result):
        print_table(console, table)


if __name__ == "__main__":
    typer.run(main)
