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

from cxrexport.ensemble.judge import Arrays as Arrays, Ensemble as Ensemble, Graphs as Graphs
from cxrexport.ensemble.members import (
    AVERAGE as AVERAGE,
    DEFAULT_MEMBERS as DEFAULT_MEMBERS,
    MOST_MEMBERS as MOST_MEMBERS,
    SEGMENT as SEGMENT,
    check_members as check_members,
    embedder_of as embedder_of,
    graphs_of as graphs_of,
    of_member as of_member,
)
from cxrexport.ensemble.onnx_runtime import OnnxGraphs as OnnxGraphs
from cxrexport.ensemble.openvino import OpenvinoGraphs as OpenvinoGraphs
from cxrexport.ensemble.pytorch import TorchGraphs as TorchGraphs
from cxrexport.ensemble.tensorrt import EngineGraphs as EngineGraphs
