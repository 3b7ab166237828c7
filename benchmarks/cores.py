"""Who gets the cores: ways to run the graphs side by side, against a loop without a server.

    python benchmarks/cores.py [--scenario starter] [--minutes 2] [--json FILE]

Every way is the same repository, client and films under a server of its own; only what is named
differs. All servers are up at once and take turns, a few films each, with the loop between them: a
machine that slows down slows all of them. But of a machine that others use too, the kernel gives
more to whoever has more threads; then only the CPU seconds of a film can be compared. The loop, in
a process of its own, preprocesses the film and runs the six graphs, one after the other; a server
also overlaps, copies and waits.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tritonclient.grpc as triton
import typer
from google.protobuf import text_format
from machine import describe
from material import SCENARIOS, build, payloads
from measurement import Chunk, interleaved_ratio, summaries
from processes import children_of_this_process, cpu_seconds
from record import write_result
from rich.console import Console
from rich.table import Table

from cxrclient.serving import EmbeddedServer
from cxrexport.repository import GRAPHS
from cxrexport.repository.configs import parse

Edit = Callable[[Any], None]


def parameters(**values: str) -> Edit:
    """Set parameters of a model's configuration."""

    def edit(config: Any) -> None:
        for key, value in values.items():
            config.parameters[key].string_value = value

    return edit


def limited(config: Any) -> None:
    """Triton's rate limiter in place of the lock: a model needs the one resource `cores`."""
    config.parameters["CORES_LOCK"].string_value = "0"
    limiter = config.instance_group[0].rate_limiter
    limiter.resources.add(name="cores", count=1, **{"global": True})


def batched(config: Any) -> None:
    """Triton's dynamic batcher: a model gets all films at once that wait for it."""
    config.dynamic_batching.max_queue_delay_microseconds = 500


def in_fours(config: Any) -> None:
    """The same, and up to four of them are one inference."""
    batched(config)
    config.parameters["FILMS_PER_INFERENCE"].string_value = "4"


def twice(config: Any) -> None:
    """Two instances of each graph, each with the weights of its own."""
    config.instance_group[0].count = 2


@dataclass(frozen=True)
class Way:
    """One arrangement.

    Attributes:
        edit: what it changes in the configuration of segment and the four backbones.
        arguments: of the server.
    """

    edit: Edit
    arguments: tuple[str, ...] = ()


RATE_LIMIT = ("--rate-limit=execution_count", "--rate-limit-resource=cores:1")
WAYS = {
    "lock": Way(parameters()),  # as generated
    "nothing": Way(parameters(CORES_LOCK="0")),
    "rate limiter": Way(limited, RATE_LIMIT),
    "two instances each": Way(twice),
    "one thread each": Way(parameters(CORES_LOCK="0", INFERENCE_NUM_THREADS="1")),
    "lock, batcher": Way(batched),
    "lock, four films an inference": Way(in_fours),
}


@dataclass(frozen=True)
class Plan:
    """What is measured of a scenario.

    Attributes:
        ways: names of WAYS.
        films: films in flight → films of a turn.
        loop: films of the loop between two turns.
    """

    ways: tuple[str, ...]
    films: dict[int, int]
    loop: int


PLANS = {
    "starter": Plan(tuple(WAYS), {1: 4, 4: 16, 16: 48}, loop=8),
    # A film takes seconds: the ways that matter, and only as many films as it needs.
    "paper-512": Plan(("lock", "nothing", "lock, batcher"), {1: 4, 4: 8, 16: 16}, loop=2),
    "paper": Plan(("lock", "nothing", "rate limiter"), {1: 1, 4: 4}, loop=1),
}


class ServerWith(EmbeddedServer):
    """The product's server, with further arguments."""

    more: tuple[str, ...] = ()

    def _arguments(self, backends: Path, regions: str) -> list[str]:
        return [*super()._arguments(backends, regions), *self.more]


@dataclass
class Target:
    """A running server, and a client for it.

    Attributes:
        name: of the way.
        server: ready.
        pid: of its supervisor; the server's processes are below it.
    """

    name: str
    server: ServerWith
    pid: int
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = triton.InferenceServerClient(self.server.grpc_address)

    def ask(self, film: bytes) -> float:
        """Send one film; seconds until its answer."""
        image = triton.InferInput("IMAGE", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[film]], dtype=np.object_))
        begin = time.perf_counter()
        self.client.infer("cxr", [image])
        return time.perf_counter() - begin

    def chunk(self, films: Sequence[bytes], concurrency: int) -> Chunk:
        """Send films, so many at once."""
        before, begin = cpu_seconds(self.pid), time.perf_counter()
        with ThreadPoolExecutor(concurrency) as pool:
            seconds = list(pool.map(self.ask, films))
        wall_s, cpu_s = time.perf_counter() - begin, cpu_seconds(self.pid) - before
        p50_ms = 1000 * float(np.median(seconds))
        return Chunk(self.name, "f32", concurrency, len(films), wall_s, p50_ms, cpu_s=cpu_s)


class Loop:
    """`loops.py openvino` in a process of its own."""

    def __init__(self, repository: Path) -> None:
        script = Path(__file__).with_name("loops.py")
        command = [sys.executable, str(script), "openvino", "--repository", str(repository)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self._answer()

    def chunk(self, films: int) -> Chunk:
        """Run films, one after the other."""
        assert self._process.stdin is not None  # noqa: S101  # it is a pipe
        self._process.stdin.write(f"{films}\n")
        self._process.stdin.flush()
        before, begin = cpu_seconds(self._process.pid), time.perf_counter()
        self._answer()
        wall_s = time.perf_counter() - begin
        cpu_s = cpu_seconds(self._process.pid) - before
        return Chunk("loop", "f32", 1, films, wall_s, 1000 * wall_s / films, cpu_s=cpu_s)

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None  # noqa: S101  # it is a pipe
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("loops.py ended; its words are above")
        return line


def variant(repository: Path, way: Way, folder: Path) -> Path:
    """A copy of the repository whose graphs are shared and whose configurations are edited."""
    shutil.copytree(repository, folder, copy_function=_link)
    for graph in (name for name in GRAPHS if name != "average"):
        path = folder / graph / "configs" / "cpu.pbtxt"
        config = parse(path.read_text(encoding="utf-8"))
        way.edit(config)
        path.unlink()  # the original is another name of the same file
        path.write_text(text_format.MessageToString(config, as_utf8=True), encoding="utf-8")
    return folder


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)


@contextlib.contextmanager
def running(repository: Path, names: Sequence[str]) -> Iterator[list[Target]]:
    """Servers of all the ways, ready."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cores-")))
        targets = []
        for number, name in enumerate(names):
            copy = variant(repository, WAYS[name], folder / str(number))
            server = ServerWith(copy, device="cpu")
            server.more = WAYS[name].arguments
            before = children_of_this_process()
            stack.enter_context(server)
            (pid,) = children_of_this_process() - before
            targets.append(Target(name, server, pid))
        yield targets


def measure(scenario: str, ways: Sequence[str], minutes: float, console: Console) -> dict[str, Any]:
    """Take turns until the time is over; at least one turn of everything."""
    plan = PLANS[scenario]
    repository = build(SCENARIOS[scenario]).repository
    films = payloads()
    chunks: list[Chunk] = []
    loop = Loop(repository)
    try:
        with running(repository, ways) as targets:
            for target in targets:
                target.ask(films[0])  # warm: preprocessing, shared memory
            end, turn = time.monotonic() + 60 * minutes, 0
            while turn == 0 or time.monotonic() < end:
                for concurrency, count in plan.films.items():
                    some = [films[n % len(films)] for n in range(count)]
                    # Another order each turn: no way always follows the same one.
                    first = turn % len(targets)
                    for target in [*targets[first:], *targets[:first]]:
                        chunks.append(loop.chunk(plan.loop))
                        chunks.append(target.chunk(some, concurrency))
                chunks.append(loop.chunk(plan.loop))
                turn += 1
    finally:
        loop.end()
    rows = summaries(chunks)
    for row in rows:
        key = (row["alternative"], row["precision"], row["concurrency"])
        row["of_the_loop"] = interleaved_ratio(chunks, of=key, beside=("loop", "f32", 1))
    _print(console, scenario, turn, rows)
    return {"scenario": scenario, "turns": turn, "rows": rows}


def _print(console: Console, scenario: str, turns: int, rows: Sequence[dict[str, Any]]) -> None:
    title = f"{scenario}: films a second, as a share of the loop's ({turns} turns)"
    columns = ("in flight", "films", "films/s", "of the loop", "p50 ms", "CPU s/film")
    table = Table("who gets the cores", *columns)
    table.title = title
    for row in rows:
        table.add_row(
            row["alternative"],
            str(row["concurrency"]),
            str(row["films"]),
            f"{row['films_s']:.3g}",
            "1" if row["alternative"] == "loop" else f"{row['of_the_loop']:.3f}",
            f"{row['p50_ms']:.0f}",
            f"{row['cpu_s_per_film']:.3g}",
        )
    console.print(table)


def main(
    scenario: Annotated[list[str] | None, typer.Option(help=f"{', '.join(PLANS)}.")] = None,
    way: Annotated[list[str] | None, typer.Option(help=f"{', '.join(WAYS)}.")] = None,
    minutes: Annotated[float, typer.Option(help="For each scenario, without starting.")] = 1.5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Result.")] = None,
) -> None:
    """Print a table for each scenario."""
    console = Console(width=100)
    result: dict[str, Any] = {"benchmark": "cores", "machine": describe(), "scenarios": []}
    for name in scenario or list(PLANS):
        ways = way or PLANS[name].ways
        result["scenarios"].append(measure(name, ways, minutes, console))
        if json_file is not None:
            write_result(json_file, result)


if __name__ == "__main__":
    typer.run(main)
