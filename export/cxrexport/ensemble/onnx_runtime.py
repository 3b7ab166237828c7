"""Runs ONNX graphs in ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from cxrexport.ensemble.judge import Arrays


class OnnxGraphs:
    """ONNX Runtime on the CPU.

    Args:
        models: graph → its file, or serialised ONNX.
    """

    def __init__(self, models: Mapping[str, Path | bytes]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Its threads would wait for each other in a loop, and take the cores from other work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._sessions = {
            graph: onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            for graph, model in models.items()
        }

    def metadata(self, graph: str) -> dict[str, str]:
        """What the file says of itself."""
        return dict(self._sessions[graph].get_modelmeta().custom_metadata_map)

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """See `Graphs.run`."""
        session = self._sessions[graph]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))
