"""Preprocessing: how long the product takes for a film, by stage, beside how it is usually written.

    python benchmarks/preprocessing.py [--rounds 12] [--json FILE]

All that is compared runs in turns in one process, on one thread and on all cores. The films are a
real one (1955x1841, of the package pydicom-data) and a drawn one (3000x3000), uncompressed, at the
`paper` profile's 1024 px. MONAI and scikit-image are left out, with a word, where they are missing.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from hardware import describe, usable_cores
from preprocessing_alternatives import monai_and_skimage, naive_numpy, numpy_alone
from preprocessing_films import compressed, drawn_film, drawn_picture, real_film
from preprocessing_report import tables
from preprocessing_stages import by_stage
from record import write_result
from rich.console import Console
from tables import print_table

from cxrexport.preprocessing import PreprocessingSpec, preprocess

SPEC = PreprocessingSpec()
PRODUCT, NAIVE, ALONE, MONAI = "product", "numpy", "numpy alone", "MONAI, scikit-image"
EACH_ROUND = 5
"""Runs of the product in a round: it is that much shorter than the others."""
SIDES_PX = (512, 1024, 1500, 2000, 3000, 4000)

Contenders = dict[str, Callable[[bytes], Any]]
Sample = tuple[float, float]
"""Wall and processor time of one run in seconds."""


def contenders() -> tuple[Contenders, str | None]:
    """What runs in turns, and why MONAI with scikit-image is not among it."""
    found: Contenders = {
        PRODUCT: lambda encoded: preprocess(encoded, SPEC).image[0],
        NAIVE: lambda encoded: naive_numpy(encoded, SPEC.size_px),
        ALONE: lambda encoded: numpy_alone(encoded, SPEC.size_px),
    }
    try:
        found[MONAI] = monai_and_skimage(SPEC.size_px)
    except ImportError as error:
        return found, f"{error.name} is missing: pip install monai scikit-image"
    return found, None


def on_threads(count: int) -> None:
    """Let OpenCV, and torch where it is loaded, use so many threads."""
    import sys

    cv2.setNumThreads(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def timed(run: Callable[[Any], Any], encoded: bytes | bytearray) -> Sample:
    """Time one run."""
    cpu, wall = time.process_time(), time.perf_counter()
    run(encoded)
    return time.perf_counter() - wall, time.process_time() - cpu


def in_turns(run: Contenders, films: dict[str, bytes], rounds: int) -> list[dict[str, Any]]:
    """Time every contender on every film and thread count, round by round."""
    samples: dict[tuple[str, int, str], list[list[Sample]]] = defaultdict(list)
    for _ in range(rounds):
        for threads in sorted({1, usable_cores()}):
            on_threads(threads)
            for film, encoded in films.items():
                for name, each in run.items():
                    runs = EACH_ROUND if name == PRODUCT else 1
                    taken = [timed(each, encoded) for _ in range(runs)]
                    samples[film, threads, name].append(taken)
    return [
        {
            "film": film,
            "threads": threads,
            "name": name,
            **summary([sample for taken in rounds_of for sample in taken]),
            "over_product": _ratio(rounds_of, samples[film, threads, PRODUCT]),
        }
        for (film, threads, name), rounds_of in samples.items()
    ]


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Median, 95th percentile and shortest wall time, and median processor time."""
    wall, cpu = np.array(samples).T * 1e3
    return {
        "runs": len(samples),
        "median_ms": float(np.median(wall)),
        "p95_ms": float(np.percentile(wall, 95)),
        "shortest_ms": float(wall.min()),
        "cpu_ms": float(np.median(cpu)),
    }


def _ratio(rounds_of: list[list[Sample]], product: list[list[Sample]]) -> float:
    """Median over the rounds of the one's median wall time over the product's."""
    pairs = zip(rounds_of, product, strict=True)
    walls = [[np.median([wall for wall, _ in taken]) for taken in pair] for pair in pairs]
    return float(np.median([one / other for one, other in walls]))


def timed_alone(encoded: bytes, runs: int) -> dict[str, Any]:
    """Time the product on one film, with OpenCV's own threads."""
    preprocess(encoded, SPEC)
    return summary([timed(lambda film: preprocess(film, SPEC), encoded) for _ in range(runs)])


def side_by_side(encoded: bytes, runs: int) -> list[dict[str, Any]]:
    """What two processes reach at once, as two instances of the server's step.

    With as many of OpenCV's threads each, and with freed memory kept for the next film or not.
    """
    found = []
    for threads in sorted({1, usable_cores()}):
        for kept in (False, True):
            context = multiprocessing.get_context("spawn")
            barrier = context.Barrier(2)
            with context.Pool(2, initializer=_begin, initargs=(barrier, threads, kept)) as pool:
                taken = pool.starmap(_serve, [(encoded, runs)] * 2, chunksize=1)
            samples = [sample for each in taken for sample in each]
            longest = max(sum(wall for wall, _ in each) for each in taken)
            facts = {"threads": threads, "kept": kept, "films_s": 2 * runs / longest}
            found.append({**facts, **summary(samples)})
    return found


def _begin(barrier: Any, threads: int, kept: bool) -> None:
    from cxrexport.preprocessing.memory import keep_freed_memory

    globals()["_barrier"] = barrier
    on_threads(threads)
    if kept:
        keep_freed_memory()


def _serve(encoded: bytes, runs: int) -> list[Sample]:
    """Each request brings its own bytes, and its answer is copied out."""
    request = bytearray(encoded)

    def answered(film: bytearray) -> bytes:
        return preprocess(bytes(film), SPEC).image.tobytes()

    for _ in range(3):
        answered(request)
    globals()["_barrier"].wait()
    return [timed(answered, request) for _ in range(runs)]


def measure(rounds: int, console: Console) -> dict[str, Any]:
    """Measure all of it."""
    run, missing = contenders()
    picture = drawn_picture()
    films = {"1955x1841, real": real_film(), "3000x3000, drawn": drawn_film(picture, 3000)}
    result: dict[str, Any] = {"machine": describe(), "versions": _versions(), "missing": missing}
    result["unlike"] = _unlike(run, films)
    console.print("[dim]in turns …")
    result["in_turns"] = in_turns(run, films, rounds)
    on_threads(usable_cores())
    console.print("[dim]by stage, compressed, other sizes, two at once …")
    result["stages"] = {name: by_stage(film, SPEC, 4 * rounds) for name, film in films.items()}
    real = films["1955x1841, real"]
    others = {
        "uncompressed": real,
        **compressed(real),
        "JPEG 2000 lossy": real_film("RG1_J2KI.dcm"),
    }
    result["compressed"] = [
        {"name": name, "bytes": len(film), **timed_alone(film, rounds)}
        for name, film in others.items()
    ]
    result["sizes"] = [
        {"side_px": side, **timed_alone(drawn_film(picture, side), 2 * rounds)} for side in SIDES_PX
    ]
    result["side_by_side"] = side_by_side(real, 4 * rounds)
    return result


def _unlike(run: Contenders, films: dict[str, bytes]) -> list[dict[str, Any]]:
    """Mean difference of each contender's image from the product's, once before all is timed."""
    found = []
    for film, encoded in films.items():
        product = run[PRODUCT](encoded)
        for name, each in run.items():
            difference = float(np.abs(each(encoded) - product).mean())
            found.append({"film": film, "name": name, "mean_difference": difference})
    return found


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("numpy", "opencv-python-headless", "pydicom", "monai", "torch", "scikit-image"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main(
    rounds: Annotated[int, typer.Option(help="Turns; more are steadier.", min=2)] = 12,
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
) -> None:
    """Measure the preprocessing and print tables."""
    console = Console()
    result = measure(rounds, Console(stderr=True))
    for table in tables(result, PRODUCT, NAIVE, MONAI):
        print_table(console, table)
    if json is not None:
        write_result(json, result)


if __name__ == "__main__":
    typer.run(main)
