"""How fast the archive is, embedded and on a Milvus server, and how right the server's graph is.

    python benchmarks/archive.py [--embedded-only] [--films 200000] [--formats-only]

Embeddings are made up with the structure of real ones (inputs/embeddings.py). The server is that of
the PyPI package milvus; without it, the embedded half is measured alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from inputs.embeddings import exact, films
from inputs.milvus_server import MilvusServer, missing
from measuring.hardware import describe
from measuring.record import RESULTS, write_result
from reports.archive import archive_table, formats_table
from reports.tables import print_table
from rich.console import Console

from cxrclient.archive import SimilarityIndex
from cxrclient.archive.milvus.layout import FORMAT_1
from cxrclient.files import parse_json
from cxrclient.runs import beside, take_over

EMBEDDED_FILMS = 20_000
QUERIES = 200
_RECALL_AT = 10
_STEP = 5000
_DIGEST = "0" * 64
_ASKED: dict[str, dict[str, Any]] = {
    "no filter": {},
    "view and age": {"view": "AP", "age": (40, 60)},
    "a rare age": {"age": (None, 1)},
    "a raw filter": {"where": 'view == "PA" and age < 40'},
}
PROGRAMS = Path(__file__).parents[1] / "build" / "benchmarks" / "milvus" / "bin"


def fill(index: SimilarityIndex, vectors: Any, keys: list[str], first: int, last: int) -> float:
    """Add the films `first` to `last`; returns films a second."""
    begin = time.perf_counter()
    for start in range(first, last, _STEP):
        some = range(start, min(start + _STEP, last))
        index.add(
            [f"1.2.840.99999.{n}" for n in some],
            vectors[some.start : some.stop],
            [
                {
                    "label": ("covid", "non-covid")[n % 2],
                    "label_source": "predicted",
                    "probability": (n % 1000) / 1000,
                    "patient_key": keys[n],
                    "view": ("AP", "PA")[n % 2],
                    "age": float(n % 90),
                }
                for n in some
            ],
        )
    return (last - first) / (time.perf_counter() - begin)


def ask(index: SimilarityIndex, queries: Any, **options: Any) -> tuple[dict[str, float], list[Any]]:
    """Times of one search after the other, in ms, and the answers."""
    for query in queries[:10]:
        index.search(query, **options)
    times, answers = [], []
    for query in queries:
        begin = time.perf_counter()
        answers.append(index.search(query, **options))
        times.append(1000 * (time.perf_counter() - begin))
    return {"p50_ms": float(np.median(times)), "p99_ms": float(np.percentile(times, 99))}, answers


def settle(index: SimilarityIndex) -> None:
    """Wait until a server has put all films into its index, which it does by and by."""
    if index._store.local:
        return
    client = index._store._open
    client.flush(index.collection)
    while client.describe_index(index.collection, "embedding")["pending_index_rows"]:
        time.sleep(0.5)
    client.release_collection(index.collection)  # else films stay out of the index for a while
    client.load_collection(index.collection)


def measure(index: SimilarityIndex, sizes: list[int]) -> Iterator[dict[str, Any]]:
    """Fill an archive up to each of `sizes`, and search it under the index of that size."""
    vectors, keys = films(sizes[-1])
    queries, _ = films(QUERIES, seed=1)
    queries = queries[:QUERIES]
    before = 0
    for size in sizes:
        added_s = fill(index, vectors, keys, before, size)
        before = size
        right = exact(vectors[:size], queries, _RECALL_AT)
        begin = time.perf_counter()
        index.fit_index()
        settle(index)
        built_s = time.perf_counter() - begin
        default, _ = ask(index, queries)
        filtered, _ = ask(index, queries, view="AP", age=(40, 60))
        _, answers = ask(index, queries, k=_RECALL_AT, one_per_patient=False)
        found = [
            len({n.id for n in some} & {f"1.2.840.99999.{n}" for n in true})
            for some, true in zip(answers, right, strict=True)
        ]
        yield {
            "films": size,
            "added_s": added_s,
            "index": index.kind.name,
            "parameters": dict(index.kind.parameters),
            "index_s": built_s,
            **default,
            "filtered_p50_ms": filtered["p50_ms"],
            "recall_at_10": sum(found) / (len(found) * _RECALL_AT),
        }


def compare_formats(old: SimilarityIndex, size: int) -> list[dict[str, Any]]:
    """Search an archive of format 1, take it over to format 2, and search that one."""
    old._store.create("format_1", _DIGEST, FORMAT_1)
    options: dict[str, Any] = {"model_digest": _DIGEST, "timeout_s": 120}
    with (
        SimilarityIndex(old.uri, collection="format_1", **options) as before,
        SimilarityIndex(old.uri, collection=beside(before, _DIGEST), **options) as after,
    ):
        vectors, keys = films(size)
        queries = films(QUERIES, seed=1)[0][:QUERIES]
        fill(before, vectors, keys, 0, size)
        before.fit_index()
        settle(before)
        first = {name: ask(before, queries, **asked) for name, asked in _ASKED.items()}
        begin = time.perf_counter()
        for _ in take_over(before, after):
            pass
        after.fit_index()
        copied_s = time.perf_counter() - begin
        settle(after)
        rows = []
        for name, asked in _ASKED.items():
            times, answers = ask(after, queries, **asked)
            same = sum(one == two for one, two in zip(first[name][1], answers, strict=True))
            rows.append(
                {
                    "films": size,
                    "index": after.kind.name,
                    "asked": name,
                    "before": first[name][0],
                    "after": times,
                    "same": same / len(answers),
                    "copied_s": copied_s,
                }
            )
        return rows


@contextmanager
def embedded() -> Iterator[SimilarityIndex]:
    """An archive in a file, removed afterwards."""
    with (
        tempfile.TemporaryDirectory() as folder,
        SimilarityIndex(Path(folder, "cxr.db"), model_digest=_DIGEST) as index,
    ):
        yield index


@contextmanager
def served() -> Iterator[SimilarityIndex]:
    """An archive on a Milvus server, ended and removed afterwards."""
    with (
        tempfile.TemporaryDirectory() as folder,
        MilvusServer(Path(folder), PROGRAMS) as server,
        SimilarityIndex(server.uri, model_digest=_DIGEST, timeout_s=120) as index,
    ):
        yield index


def main(
    embedded_only: Annotated[bool, typer.Option(help="Without the server.")] = False,
    most: Annotated[int, typer.Option("--films", help="On the server.")] = 200_000,
    formats_only: Annotated[
        bool, typer.Option(help="Only formats 1 and 2; the rest of the file stays.")
    ] = False,
    json_file: Annotated[Path, typer.Option("--json")] = RESULTS / "archive.json",
) -> None:
    """Print the tables, and keep them."""
    console = Console(width=120)
    reason = "not asked for" if embedded_only else missing()
    if formats_only:
        result = dict(parse_json(json_file.read_bytes()))
    else:
        result = {"benchmark": "archive", "machine": describe()}
        with embedded() as index:
            result["embedded"] = list(measure(index, [10_000, EMBEDDED_FILMS]))
        if reason:
            result["server"] = {"missing": reason}
        else:
            sizes = sorted({n for n in (10_000, 50_000) if n < most} | {most})
            with served() as index:
                result["server"] = []
                for row in measure(index, sizes):
                    result["server"].append(row)
                    console.print(
                        f"{row['films']:,} films: p50 {row['p50_ms']:.1f} ms", markup=False
                    )
        print_table(console, archive_table(result))
    result["formats"] = {"machine": describe()}
    with embedded() as index:
        result["formats"]["a file"] = compare_formats(index, EMBEDDED_FILMS)
    if not reason:
        with served() as index:
            result["formats"]["a server"] = compare_formats(index, most)
    print_table(console, formats_table(result["formats"]))
    write_result(json_file, result)


if __name__ == "__main__":
    typer.run(main)
