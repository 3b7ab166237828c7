"""Runs TensorRT engines on this machine's GPU."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cxrexport.ensemble.judge import Arrays
from cxrexport.errors import EngineError


class EngineGraphs:
    """Engines on this machine's GPU, as a context manager.

    Args:
        engines: graph → file.

    Raises:
        EngineError: on entering, an engine cannot be loaded; names it.
    """

    def __init__(self, engines: Mapping[str, Path]) -> None:
        self._engines = dict(engines)
        self._stack = ExitStack()
        self._runners: dict[str, Any] = {}

    def __enter__(self) -> Self:
        from polygraphy.backend.trt import EngineFromBytes, TrtRunner
        from polygraphy.exception import PolygraphyException

        with self._stack as stack:
            for graph, path in self._engines.items():
                try:
                    runner = TrtRunner(EngineFromBytes(path.read_bytes()))
                    self._runners[graph] = stack.enter_context(runner)
                except PolygraphyException as error:
                    raise EngineError(
                        f"{path} cannot be loaded on this GPU: {error}. Build it again with "
                        f"`--force`."
                    ) from error
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """See `Graphs.run`."""
        outputs = self._runners[graph].infer(feed_dict=dict(inputs))
        # The runner reuses its buffers for the next film.
        return {name: np.array(value) for name, value in outputs.items()}
