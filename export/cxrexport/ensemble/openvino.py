"""Runs graphs in OpenVINO on the CPU, film by film, as the server does there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrexport.ensemble.judge import Arrays
from cxrexport.errors import RepositoryError

_PROPERTIES = {
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    # As in deploy/openvino/model.py: what meets weights stored as int8 is not rounded to int8.
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
}


class OpenvinoGraphs:
    """OpenVINO, in f32 where the graphs are not int8; a batch is one film.

    Args:
        models: graph → its file, ONNX or OpenVINO's own format.

    Raises:
        RepositoryError: OpenVINO cannot read or compile a graph.
    """

    def __init__(self, models: Mapping[str, Path]) -> None:
        import openvino

        core = openvino.Core()
        self._requests: dict[str, Any] = {}
        for name, path in models.items():
            try:
                graph = core.read_model(path)
                # One film a time, as the server does it (FILMS_PER_INFERENCE).
                shapes = {port.any_name: port.get_partial_shape() for port in graph.inputs}
                graph.reshape({key: [1, *list(shape)[1:]] for key, shape in shapes.items()})
                compiled = core.compile_model(graph, "CPU", _PROPERTIES)
            except RuntimeError as error:
                raise RepositoryError(
                    f"OpenVINO cannot use {path}; build the repository again"
                ) from error
            self._requests[name] = compiled.create_infer_request()

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """See `Graphs.run`."""
        results = self._requests[graph].infer(dict(inputs), share_inputs=True)
        return {port.any_name: np.asarray(value) for port, value in results.items()}
