"""The ONNX that TensorRT reads: each graph in the precision that was asked for."""

from __future__ import annotations

from collections.abc import Mapping

from cxrexport.engines.precision import Precision, mixed_precision
from cxrexport.errors import EngineError


def networks_to_build(graphs: Mapping[str, bytes], precision: Precision) -> dict[str, bytes]:
    """Rewrite graphs for TensorRT.

    Args:
        graphs: name → serialised ONNX, as `cxrexport build` writes it.
        precision: of the convolutions.

    Returns:
        name → serialised ONNX.

    Raises:
        EngineError: a package is missing, or a graph is no valid ONNX; says what to do.
    """
    try:
        import onnx
        import onnxconverter_common  # noqa: F401
    except ImportError as error:
        raise EngineError(
            f"engines need {error.name}: run `pip install '.[tensorrt]'` in a checkout of "
            f"cxr-triton, or put its wheel's path for the dot"
        ) from error
    networks = {}
    for graph, content in graphs.items():
        try:
            model = mixed_precision(onnx.load_from_string(content), precision)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise EngineError(
                f"the graph {graph} is no valid ONNX ({_first_line(error)}). Write the network "
                f"without that operation, and run `cxrexport build` again."
            ) from error
        networks[graph] = model.SerializeToString(deterministic=True)
    return networks


def _first_line(error: Exception) -> str:
    """Give the first line: the messages of onnx go on with the node's whole text."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
