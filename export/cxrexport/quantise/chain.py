"""All six graphs in this process, film by film, as the server runs them on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrexport.errors import RepositoryError
from cxrexport.repository import GRAPHS, MEMBERS

__all__ = ["Chain"]

Floats = npt.NDArray[np.float32]
Tensors = dict[str, Floats]


class Chain:
    """The graphs of a repository on OpenVINO, in f32 where they are not int8.

    Args:
        graphs: model → file of its graph; every one of GRAPHS that is to be run.

    Raises:
        RepositoryError: OpenVINO cannot read or compile a graph.
    """

    def __init__(self, graphs: Mapping[str, Path]) -> None:
        import openvino

        core = openvino.Core()
        self._requests: dict[str, Any] = {}
        for name, path in graphs.items():
            try:
                graph = core.read_model(path)
                # One film a time, as the server does it (FILMS_PER_INFERENCE).
                shapes = {port.any_name: port.get_partial_shape() for port in graph.inputs}
                graph.reshape({key: [1, *list(shape)[1:]] for key, shape in shapes.items()})
                properties = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
                compiled = core.compile_model(graph, "CPU", properties)
            except RuntimeError as error:
                raise RepositoryError(
                    f"OpenVINO cannot use {path}; build the repository again"
                ) from error
            self._requests[name] = compiled.create_infer_request()

    def run(self, name: str, inputs: Tensors) -> Tensors:
        """Run one graph on one film: output → array [1, ...]."""
        results = self._requests[name].infer(inputs, share_inputs=True)
        return {port.any_name: np.asarray(value) for port, value in results.items()}

    def lungs(self, film: Floats) -> Floats:
        """Return a film's lung map; both float32 [1, 1, S, S]."""
        return self.run("segment", {"CXR": film})["LUNGS"]

    def judge(self, film: Floats, lungs: Floats) -> Tensors:
        """Return the ensemble's outputs on a film: as `average`, with resnet50's EMBEDDING."""
        out = {name: self.run(name, {"CXR": film, "LUNGS": lungs}) for name in MEMBERS}
        votes = {f"{t}_{name.upper()}": out[name][t] for t in ("LOGITS", "CAM") for name in MEMBERS}
        return {**self.run("average", votes), "EMBEDDING": out["resnet50"]["EMBEDDING"]}


def graph_files(repository: Path) -> dict[str, Path]:
    """Return model → its ONNX graph."""
    return {graph: repository / graph / "1" / "model.onnx" for graph in GRAPHS}
