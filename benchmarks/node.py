"""The PACS node: what its senders and its PACS see, what a film costs, how workers scale.

    python benchmarks/node.py [--films 24] [--workers 1 --workers 2 --workers 4]

The server is a real one, on the CPU, with the committed repository, whose networks are small.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from inputs.films import real_film
from measuring.hardware import ROOT, describe
from measuring.node_door import receiving, way_of_a_film
from measuring.processes import cpu_seconds, memory_mb
from measuring.record import RESULTS, write_result
from measuring.server import Server
from reports.node import node_tables
from reports.tables import print_table
from rich.console import Console

from cxrclient import CxrClient, Prediction
from cxrclient.dicom_results import results_of
from cxrclient.node import NodeOptions
from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.spool import Spool
from cxrclient.node.work.workers import Workers
from cxrclient.pixels import decode_stored

Made = TypeVar("Made")
TIMES = 11


def film_cost(server: Server) -> dict[str, Any]:
    """Processor time of a film's parts outside Triton, in this process, in seconds."""
    film = real_film().read_bytes()
    parts: dict[str, list[float]] = {}

    def cpu(name: str, work: Callable[[], Made]) -> Made:
        begin = time.process_time()
        made = work()
        parts.setdefault(name, []).append(time.process_time() - begin)
        return made

    with CxrClient(server.address, jobs=1) as client:

        def predict() -> Prediction:
            return client.predict(film, maps=True)

        predicted = predict()
        for _ in range(TIMES):
            stored = cpu("decoding", lambda: decode_stored(film))
            cpu("sending, and reading the answer", predict)
            made = cpu(
                "the objects (decoding in it)", lambda: results_of(predicted, film, client.model)
            )
            cpu("their files", made.files)
    medians = {name: statistics.median(times) for name, times in parts.items()}
    decoding, _sending, objects, files = medians.values()
    rows, columns = stored.shape
    return {
        "rows": rows,
        "columns": columns,
        "times": TIMES,
        "parts_s": medians,
        "objects_s": objects + files - decoding,
    }


def work(server: Server, count: int, films: int, folder: Path) -> dict[str, Any]:
    """Let so many workers analyse films of one size, with all that a spool does; their rate.

    Args:
        server: that they ask.
        count: of workers.
        films: that they get, after some that are not counted.
        folder: for the spool; results are on its disk, fsync and all.
    """
    file = real_film().read_bytes()
    uid = arrival_of(file).uid
    options = NodeOptions(folder / f"{count}", (), server.address, workers=count)
    before_all = 2 * count
    with Spool(options.spool, ["peer"], min_free_bytes=0) as spool:
        workers = Workers(options, spool)
        workers.start()
        try:
            while not workers.server_state()[0] or len(workers.pids) < count:
                time.sleep(0.1)
            for number in range(before_all + films):
                other = f"{uid[: -len(str(number)) - 1]}.{number}"
                each = file.replace(uid.encode(), other[: len(uid)].encode())
                spool.take(arrival_of(each), each)
                if number == before_all - 1:
                    _wait(spool, before_all)
                    pids = workers.pids
                    began = sum(map(cpu_seconds, pids)), cpu_seconds(server.pid)
            _wait(spool, before_all + films)
            ended = sum(map(cpu_seconds, pids)), cpu_seconds(server.pid)
            memory = [memory_mb(pid) for pid in pids]
        finally:
            workers.stop(30)
        finished = [
            row["finished_at"]
            for row in spool.rows.all("SELECT finished_at FROM films ORDER BY finished_at")
        ]
    # While the last ones are analysed, not every worker has one; the first wait for the spool.
    counted = finished[before_all + count : len(finished) - count]
    return {
        "workers": count,
        "films": films,
        "films_s": (len(counted) - 1) / (counted[-1] - counted[0]),
        "worker_cpu_s": (ended[0] - began[0]) / films,
        "server_cpu_s": (ended[1] - began[1]) / films,
        "pss_mb": memory,
    }


def _wait(spool: Spool, films: int) -> None:
    while spool.rows.one("SELECT COUNT(*) AS n FROM films WHERE state = 'analysed'")["n"] < films:
        time.sleep(0.05)


def main(
    films: Annotated[int, typer.Option(min=12, help="For each number of workers.")] = 24,
    workers: Annotated[list[int] | None, typer.Option(help="How many; repeatable.")] = None,
    output: Annotated[Path, typer.Option(help="Result, JSON.")] = RESULTS / "node.json",
) -> None:
    """Measure, print, write."""
    result: dict[str, Any] = {"benchmark": "node", "machine": describe()}
    with tempfile.TemporaryDirectory(prefix="cxr-node-") as folder:
        result["receiving"] = receiving(Path(folder), films=8 * films)
    with (
        Server(ROOT / "model_repository") as server,
        tempfile.TemporaryDirectory(prefix="cxr-node-") as folder,
    ):
        result["way"] = way_of_a_film(Path(folder), server.address, films=films)
        result["film"] = film_cost(server)
        result["workers"] = [
            work(server, count, films, Path(folder)) for count in workers or [1, 2, 4]
        ]
    write_result(output, result)
    for table in node_tables(result):
        print_table(Console(width=140), table)


if __name__ == "__main__":
    typer.run(main)
