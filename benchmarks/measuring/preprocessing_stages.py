"""Where the time of one film's preprocessing goes: the product itself, with a watch in it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import numpy as np

from cxrclient.pixels import dicom
from cxrexport.preprocessing import PreprocessingSpec, normalise, preprocess

STAGES: tuple[tuple[str, Any, str], ...] = (
    ("decode: parse the header", dicom, "read_header"),
    ("decode: pixels", dicom, "_stored_pixels"),
    ("decode: VOI and polarity as a table", dicom, "_displayed"),
    ("crop: find the borders", normalise, "film_box"),
    ("percentiles", normalise, "_brightness_window"),
    ("resize: look up, mean of blocks", normalise, "_means_of_blocks"),
    ("resize: bilinear", normalise, "_scaled"),
    ("standardise to 8 bits", normalise, "_standardised"),
    ("CLAHE", normalise, "_equalised"),
    ("assemble: pad", normalise, "_padded"),
    ("assemble: 0..1, float32", normalise, "_assembled"),
)
REST = "the rest"

Times = dict[str, list[tuple[float, float]]]


class _Watch:
    """Wall and processor time of functions, without that of watched functions that they call."""

    def __init__(self) -> None:
        self.taken: dict[str, tuple[float, float]] = {}
        self._inner: list[list[float]] = [[0.0, 0.0]]

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time kept."""

        def watched(*arguments: Any) -> Any:
            self._inner.append([0.0, 0.0])
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return function(*arguments)
            finally:
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                inner = self._inner.pop()
                self.taken[stage] = wall - inner[0], cpu - inner[1]
                self._inner[-1][0] += wall
                self._inner[-1][1] += cpu

        return watched


def by_stage(encoded: bytes, spec: PreprocessingSpec, runs: int) -> list[dict[str, Any]]:
    """Median wall and processor time of each stage, in the order in which they run.

    Args:
        encoded: a DICOM object.
        spec: the parameters.
        runs: how many.
    """
    taken: Times = defaultdict(list)
    for _ in range(runs):
        watch = _Watch()
        with ExitStack() as stack:
            for stage, module, name in STAGES:
                watched = watch.around(stage, getattr(module, name))
                stack.enter_context(patch.object(module, name, watched))
            watch.around(REST, preprocess)(encoded, spec)
        for stage, times in watch.taken.items():
            taken[stage].append(times)
    rows = []
    for stage in (*(stage for stage, _, _ in STAGES), REST):
        wall, cpu = np.median(taken[stage], axis=0) * 1e3
        rows.append({"stage": stage, "median_ms": float(wall), "cpu_ms": float(cpu)})
    return rows
