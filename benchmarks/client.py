"""What a film costs the client: processor time by part, and memory of short and long runs.

    python benchmarks/client.py [--films 5000] [--repository DIR] [--output FILE]

Processor time is that of the whole process, all threads, user and kernel. The parts are measured
one after the other, on one film; the runs are `cxrclient predict` and `cxrclient index` as a user
starts them, each in a process of its own, against a real Triton server that answers at once
(inputs/client.py).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from inputs.client import draw_small_films, link_films, write_fast_repository
from inputs.films import real_film
from measuring.hardware import ROOT, describe
from measuring.record import RESULTS, write_result
from measuring.server import Server
from reports.client import parts_table, runs_table
from reports.tables import print_table
from rich.console import Console

from cxrclient.files import MemoryUse, keep_freed_memory
from cxrclient.films import Film, read_parts
from cxrclient.wire import TENSORS, Connection, EnsembleInfo, infer_request, prediction_from_answer

ROUNDS, FILMS_A_ROUND = 7, 20
COMMAND = Path(sys.executable).with_name("cxrclient")


async def parts(address: str) -> dict[str, float]:
    """Part of the client's work on a film → its processor time, ms; the median of the rounds.

    `strip` is what it takes to make the request of what was read.
    """
    path = real_film()
    line = Connection(address)
    info = await line.ensemble()
    request = infer_request("cxr", read_parts(path)[1], TENSORS)
    answer = await line.infer(request, 60.0)
    small_answer = infer_request("cxr", read_parts(path)[1], ("PROBABILITY",))

    async def read() -> None:
        path.read_bytes()

    async def read_and_strip() -> None:
        infer_request("cxr", read_parts(path)[1], TENSORS)

    async def send() -> None:
        await line.infer(small_answer, 60.0)

    async def send_and_receive() -> None:
        await line.infer(request, 60.0)

    async def check() -> None:
        await line.ensemble_from_now()

    async def read_answer() -> None:
        _prediction(info, answer)

    async def all_of_it() -> None:
        request = infer_request("cxr", read_parts(path)[1], TENSORS)
        answer = await line.infer(request, 60.0)
        await line.ensemble_from_now()
        _prediction(info, answer)

    work = (read, read_and_strip, send, send_and_receive, check, read_answer, all_of_it)
    found: dict[str, list[float]] = {each.__name__: [] for each in work}
    for _ in range(ROUNDS):  # in turns: what slows the machine down for a while slows all
        for each in work:
            found[each.__name__].append(await _cpu_ms(each))
    await line.close()
    ms = {name: statistics.median(times) for name, times in found.items()}
    return {
        "read": ms["read"],
        "strip": ms["read_and_strip"] - ms["read"],
        "send": ms["send"],
        "receive the answer": ms["send_and_receive"] - ms["send"],
        "check which model answered": ms["check"],
        "read the answer": ms["read_answer"],
        "all in a row": ms["all_of_it"],
    }


def _prediction(info: EnsembleInfo, answer: bytes) -> None:
    prediction_from_answer(info, answer, film=Film(film_id="1.2"), latency_ms=0.0, maps=False)


async def _cpu_ms(work: Callable[[], Awaitable[None]]) -> float:
    await work()
    begin = time.process_time()
    for _ in range(FILMS_A_ROUND):
        await work()
    return 1000 * (time.process_time() - begin) / FILMS_A_ROUND


def run(address: str, films: Path, *options: str) -> dict[str, float]:
    """One run of the command: films, wall time, processor time, peak memory (resident)."""
    count = sum(1 for _ in films.iterdir())
    command = [str(COMMAND), options[0], str(films), "--server", address, *options[1:]]
    environment = os.environ | {"CXR_PATIENT_KEY": "only for this benchmark"}
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )
    assert process.stderr is not None  # noqa: S101
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} failed:\n{said}")
    return {
        "films": count,
        "wall_s": time.perf_counter() - begin,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss * 1024 / 1e6,
    }


def runs(address: str, folder: Path, films: int) -> dict[str, list[dict[str, float]]]:
    """Command → a run of a tenth of the films, and one of all."""
    counts = (max(films // 10, 1), films)
    found: dict[str, list[dict[str, float]]] = {"predict": [], "index": []}
    for count in counts:
        large = link_films(folder / f"large-{count}", count)
        results = str(folder / f"{count}.jsonl")
        found["predict"].append(run(address, large, "predict", "--output", results))
    for count in counts:
        small = draw_small_films(folder / f"small-{count}", count)
        archive = str(folder / f"{count}.db")
        found["index"].append(run(address, small, "index", "--uri", archive))
    return found


def main(
    films: Annotated[int, typer.Option(min=10, help="Of the long run; the short has a tenth.")] = (
        5000
    ),
    repository: Annotated[Path, typer.Option(help="Whose ensemble the fast server looks like.")] = (
        ROOT / "model_repository"
    ),
    output: Annotated[Path, typer.Option(help="Result, JSON.")] = RESULTS / "client.json",
) -> None:
    """Measure, print, write."""
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        fast = write_fast_repository(repository, Path(folder, "repository"))
        with Server(fast) as server:
            keep_freed_memory(MemoryUse.FILMS)  # as the commands do
            ms = asyncio.run(parts(server.address))
            print_table(console, parts_table(ms))
            found = runs(server.address, Path(folder), films)
            print_table(console, runs_table(found))
    result = {"benchmark": "client", "machine": describe(), "parts_cpu_ms": ms, "runs": found}
    write_result(output, result)


if __name__ == "__main__":
    typer.run(main)
