"""What bf16 changes on trained networks: probabilities, labels, lung maps, heatmaps, embeddings.

    python benchmarks/bf16.py --manifest CSV [--manifest CSV] [--films 60] [--json FILE]

Where the CPU has bf16 instructions, OpenVINO computes both sides. Where it has none this is an
**emulation**: in ONNX Runtime, factors and results of a copy of the graph are rounded to bf16, and
products are added up in f32, as the instructions do. Where OpenVINO makes one operation of several
(convolution, sum, activation), the result of the last is rounded, as OpenVINO does it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnxruntime
import openvino
import typer
from machine import describe
from onnx import TensorProto, helper, numpy_helper
from record import write_result
from rich.console import Console
from rich.table import Table

from cxrclient.serving import cpu
from cxrexport.manifest import read_manifest
from cxrexport.preprocessing import preprocess
from cxrexport.quantise.accuracy import Judgement, compare
from cxrexport.repository import GRAPHS, MEMBERS, read_repository

Arrays = dict[str, np.ndarray]
LARGEST_DIFFERENCE = 0.01
"""The project's own bar, for the ensemble's probability."""


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in f32 and rounds each float that it makes to bf16.

    A graph's own outputs are rounded too. Shapes and conditions are left alone.
    """
    model = onnx.shape_inference.infer_shapes(model)
    fused = _fused(model.graph)
    values = [*model.graph.value_info, *model.graph.output, *model.graph.input]
    floats = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    outputs = {value.name for value in model.graph.output}
    # Biases, slopes and the input's normalisation stay in f32, as in OpenVINO.
    factors = {node.input[1] for node in model.graph.node if node.op_type in _HEAVY[:2]}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16 or tensor.name in factors:
            exact = numpy_helper.to_array(tensor)
            # fp16 has more digits than bf16, fewer powers: what it cannot hold is tiny.
            near = _nearest(exact.astype(np.float32)).astype(exact.dtype)
            tensor.CopyFrom(numpy_helper.from_array(near, tensor.name))
    nodes: list[onnx.NodeProto] = []
    for name in [value.name for value in model.graph.input if value.name in floats]:
        nodes += _round(name, f"{name}.bf16")
    replaced = {v.name: f"{v.name}.bf16" for v in model.graph.input if v.name in floats}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = replaced.get(name, name)
        after: list[onnx.NodeProto] = []
        for place, name in enumerate(node.output):
            if name not in floats or name in fused or node.op_type in _EXACT:
                continue
            exact_name = f"{name}.exact"
            node.output[place] = exact_name
            after += _round(exact_name, name)
        nodes += [node, *after]
    assert outputs <= {name for node in nodes for name in node.output}  # noqa: S101
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    return model


_EXACT = ("Cast", "Constant", "Reshape")
_HEAVY = ("Conv", "ConvTranspose", "InstanceNormalization", "Gemm", "MatMul")
_FOLLOWING = ("Add", "Relu", "PRelu", "Sigmoid")


def _fused(graph: onnx.GraphProto) -> set[str]:
    """Results that never leave the registers: their one reader is computed along with them."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    kept = {value.name for value in graph.output}
    fused: set[str] = set()
    for node in graph.node:
        name = node.output[0]
        heavy = node.op_type in _HEAVY or (node.op_type == "Add" and fused & set(node.input))
        if not heavy or name in kept or len(readers.get(name, ())) != 1:
            continue
        (reader,) = readers[name]
        # Of a sum's two terms one is at hand, the other comes from memory.
        if reader.op_type in _FOLLOWING and not fused & set(reader.input):
            fused.add(name)
    return fused


def _nearest(values: np.ndarray) -> np.ndarray:
    """Round float32 to the nearest bf16, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    bits = bits + 0x7FFF + ((bits >> 16) & 1)
    return (bits & 0xFFFF0000).astype(np.uint32).view(np.float32)


def _round(source: str, target: str) -> list[onnx.NodeProto]:
    half = f"{target}.half"
    down = helper.make_node("Cast", [source], [half], to=TensorProto.BFLOAT16)
    return [down, helper.make_node("Cast", [half], [target], to=TensorProto.FLOAT)]


class Emulated:
    """One graph in ONNX Runtime, rounded or not."""

    def __init__(self, path: Path, *, bf16: bool) -> None:
        model = onnx.load(path)
        options = onnxruntime.SessionOptions()
        if bf16:
            model = rounded(model)
            # An optimiser may take the pairs of casts for nothing.
            none = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = none
        content = model.SerializeToString()
        self._session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Arrays) -> Arrays:
        """Run it on one film."""
        return dict(zip(self._names, self._session.run(self._names, inputs), strict=True))


class Native:
    """One graph in OpenVINO."""

    def __init__(self, path: Path, *, bf16: bool) -> None:
        hint = {"INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32"}
        self._compiled = openvino.Core().compile_model(path, "CPU", hint)

    def __call__(self, inputs: Arrays) -> Arrays:
        """Run it on one film."""
        return {port.any_name: value.copy() for port, value in self._compiled(inputs).items()}


def chain(graphs: dict[str, Any], film: np.ndarray) -> Arrays:
    """The whole ensemble on one film [1, 1, S, S]."""
    inputs = {"CXR": film, **graphs["segment"]({"CXR": film})}
    out = {name: graphs[name](inputs) for name in MEMBERS}
    votes = {f"{t}_{name.upper()}": out[name][t] for t in ("LOGITS", "CAM") for name in MEMBERS}
    embedding = out["resnet50"]["EMBEDDING"]
    return {**graphs["average"](votes), "LUNGS": inputs["LUNGS"], "EMBEDDING": embedding}


def measure(repository: Path, manifest: Path, films: int) -> dict[str, Any]:
    """Both sides on films of a manifest, evenly spread over its rows."""
    spec = read_repository(repository)[0]
    engine = Native if cpu().bf16 else Emulated
    sides = []
    for bf16 in (False, True):
        # The average stays in f32: cpu-bf16.pbtxt says so.
        graphs = {
            name: engine(repository / name / "1" / "model.onnx", bf16=bf16 and name != "average")
            for name in GRAPHS
        }
        sides.append(graphs)
    rows = read_manifest(manifest)
    places = np.unique(np.linspace(0, len(rows) - 1, films).round().astype(int))
    outputs: list[tuple[Arrays, Arrays]] = []
    for place in places:
        film = preprocess(rows[place].image.read_bytes(), spec.preprocessing).image[None]
        outputs.append((chain(sides[0], film), chain(sides[1], film)))
    f32, bf16 = (_judgement([pair[side] for pair in outputs]) for side in (0, 1))
    truth = [rows[place].label == spec.labels[1] for place in places]
    found = compare(f32, bf16, truth, spec.threshold)
    dice = [_dice(a["LUNGS"], b["LUNGS"]) for a, b in outputs]
    nearest = float(np.abs(f32.probability - spec.threshold).min())
    return {
        "manifest": manifest.stem,
        "emulated": engine is Emulated,
        "films": len(places),
        "largest_difference": found.largest_difference,
        "mean_difference": found.mean_difference,
        "members_largest_difference": found.members_largest_difference,
        "labels_changed": found.labels_changed,
        "nearest_to_threshold": nearest,
        "embedding_cosine_min": found.embedding_cosine_min,
        "heatmap_mean_drift": found.heatmap_mean_drift,
        "heatmap_largest_drift": found.heatmap_largest_drift,
        "lungs_dice_min": min(dice),
    }


def _judgement(outputs: list[Arrays]) -> Judgement:
    joined = {key: np.concatenate([out[key] for out in outputs]) for key in outputs[0]}
    return Judgement(
        joined["PROBABILITY"][:, 0], joined["MEMBERS"], joined["EMBEDDING"], joined["HEATMAP"]
    )


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    """Of two lung maps, each above one half."""
    x, y = a > 0.5, b > 0.5
    return float(2 * (x & y).sum() / max(x.sum() + y.sum(), 1))


def main(
    manifest: Annotated[list[Path], typer.Option(help="CSV of films; may be given again.")],
    repository: Annotated[Path, typer.Option(help="Trained.")] = Path("model_repository"),
    films: Annotated[int, typer.Option(min=1, help="Of each manifest.")] = 60,
    json_file: Annotated[Path | None, typer.Option("--json", help="Result.")] = None,
) -> None:
    """Print one column a manifest."""
    found = [measure(repository, path, films) for path in manifest]
    how = "emulated: this CPU has no bf16" if found[0]["emulated"] else "OpenVINO"
    table = Table(f"bf16 beside f32 ({how})", *(row["manifest"] for row in found))
    table.add_row("films", *(str(row["films"]) for row in found))
    for key, words in (
        ("largest_difference", f"largest |Δp| of the ensemble (≤ {LARGEST_DIFFERENCE})"),
        ("mean_difference", "mean |Δp|"),
        ("labels_changed", "labels changed (0)"),
        ("nearest_to_threshold", "nearest probability to the threshold"),
        ("embedding_cosine_min", "embedding, least cosine"),
        ("heatmap_largest_drift", "heatmap, mean |Δ| of the worst film"),
        ("lungs_dice_min", "lung map, least Dice"),
    ):
        table.add_row(words, *(f"{row[key]:.4g}" for row in found))
    for name in MEMBERS:
        cells = (f"{row['members_largest_difference'][name]:.4g}" for row in found)
        table.add_row(f"largest |Δp| of {name}", *cells)
    Console(width=100).print(table)
    if json_file is not None:
        write_result(json_file, {"benchmark": "bf16", "machine": describe(), "rows": found})


if __name__ == "__main__":
    typer.run(main)
