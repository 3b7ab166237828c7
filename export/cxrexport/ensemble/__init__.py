"""The ensemble outside Triton: its list of members, how they are joined, and what computes them.

    members         the list of members: what is legal, and which member gives the embedding
    judge           film → the ensemble's outputs, whichever library computes the graphs
    onnx_runtime    the runners: ONNX Runtime on the CPU,
    openvino        OpenVINO on the CPU, as the server computes there,
    pytorch         torch modules, and
    tensorrt        TensorRT engines on this machine's GPU

Importing it loads none of the libraries: each is loaded when its runner is made.
"""

from __future__ import annotations

from cxrexport.ensemble.judge import Arrays, Ensemble, Graphs
from cxrexport.ensemble.members import (
    AVERAGE,
    DEFAULT_MEMBERS,
    MOST_MEMBERS,
    SEGMENT,
    check_members,
    embedder_of,
    graphs_of,
    of_member,
)
from cxrexport.ensemble.onnx_runtime import OnnxGraphs
from cxrexport.ensemble.openvino import OpenvinoGraphs
from cxrexport.ensemble.pytorch import TorchGraphs
from cxrexport.ensemble.tensorrt import EngineGraphs

__all__ = [
    "AVERAGE",
    "DEFAULT_MEMBERS",
    "MOST_MEMBERS",
    "SEGMENT",
    "Arrays",
    "EngineGraphs",
    "Ensemble",
    "Graphs",
    "OnnxGraphs",
    "OpenvinoGraphs",
    "TorchGraphs",
    "check_members",
    "embedder_of",
    "graphs_of",
    "of_member",
]
