"""One ONNX graph → OpenVINO int8, by NNCF's post-training quantisation."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrexport.errors import QuantisationError
from cxrexport.stored_weights import unfold

Feed = dict[str, npt.NDArray[np.float32]]

# Everything else stays in floating point: the normalisation of the input, which would be rounded
# twice; the mean over space, the head and Grad-CAM, which cost nothing and decide.
_INT8_OPERATIONS = frozenset({"Convolution", "MaxPool", "Add", "Relu"})


def require_nncf() -> None:
    """Raise QuantisationError where NNCF or OpenVINO is not installed.

    NNCF tells Google Analytics of its use unless this is set before it is imported (3.4.0); a
    hospital's machine does not.
    """
    os.environ["NNCF_CI"] = "1"
    try:
        import nncf  # noqa: F401
        import openvino  # noqa: F401
    except ImportError as error:
        raise QuantisationError(
            f"{error.name} is not installed: run `pip install '.[train]'` in a checkout of "
            "cxr-triton, or put its wheel's path for the dot"
        ) from error


def method() -> str:
    """Name the tools and versions that `quantise_graph` uses."""
    return f"NNCF {version('nncf')}, OpenVINO {version('openvino')}"


def quantise_graph(source: Path, target: Path, films: Sequence[Feed]) -> None:
    """Quantise a graph's convolutions, and write it as `target` (.xml) and its weights (.bin).

    Weights take half their range (7 bits). On CPUs without VNNI, pairs of products of 8 bits are
    added in 16 bits and saturate; with 7 bits they cannot, so one file is right on every CPU.
    Source: NNCF's `OverflowFix`.

    Args:
        source: the ONNX graph.
        target: its folder must be there.
        films: inputs to calibrate with, each of one film.
    """
    require_nncf()
    import nncf
    import openvino
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
    )

    # Not nncf.set_log_level: it changes every handler of its logger, be it another library's.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    graph = openvino.Core().read_model(_in_fp32(source))
    kinds = {operation.get_type_name() for operation in graph.get_ops()}
    kept = sorted(kinds - _INT8_OPERATIONS - {"Parameter", "Result", "Constant", "Convert"})
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars; stdout is for data
        quantised: Any = nncf.quantize(
            graph,
            nncf.Dataset(films),
            subset_size=len(films),
            target_device=nncf.TargetDevice.CPU,
            ignored_scope=nncf.IgnoredScope(types=kept, validate=False),
            advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
        )
    try:
        # Biases and scales keep their digits: they are few.
        openvino.save_model(quantised, target, compress_to_fp16=False)
    except RuntimeError as error:  # all that OpenVINO has for a full disk
        raise OSError(f"OpenVINO could not write {target.name}: {error}") from error


def _in_fp32(source: Path) -> Path | io.BytesIO:
    """Give a graph whose weights are no int8 yet: NNCF would leave those as they are, at 8 bits."""
    import onnx

    model = onnx.load(source)
    if not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return source
    unfold(model.graph)
    return io.BytesIO(model.SerializeToString())
