"""One alternative to the server, in a process of its own: a plain loop over the films.

    python benchmarks/loops.py openvino --repository DIR [--precision f32]
    python benchmarks/loops.py eager --repository DIR --recipe FILE

Says `{"ready_s": …}`, then reads numbers from stdin and answers each with one line: so many films,
one after the other, their times and probabilities. `ensemble.py` runs it, because malloc is set by
the environment that a process starts in, and because memory is measured by process.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from material import payloads, served_graph
from measuring.hardware import usable_cores

from cxrexport.admission import Reference, admission_flags
from cxrexport.ensemble import Ensemble, graphs_of
from cxrexport.preprocessing import preprocess
from cxrexport.repository import ADMISSION, graph_files, read_repository

Arrays = dict[str, np.ndarray]
Graph = Callable[[Arrays], Arrays]


def openvino_graphs(repository: Path, precision: str) -> dict[str, Graph]:
    """The served graphs, compiled as the server's backend compiles them."""
    import openvino

    core, graphs = openvino.Core(), {}
    for name in read_repository(repository)[0].graphs:
        path, hint = served_graph(repository, name, precision)
        model = core.read_model(path)
        shapes = {port.any_name: port.get_partial_shape() for port in model.inputs}
        model.reshape({port: [1, *list(shape)[1:]] for port, shape in shapes.items()})
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(usable_cores()),
            "INFERENCE_PRECISION_HINT": hint,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
        }
        request = core.compile_model(model, "CPU", properties).create_infer_request()
        graphs[name] = _openvino_graph(request)
    return graphs


def _openvino_graph(request: Any) -> Graph:
    def run(inputs: Arrays) -> Arrays:
        results = request.infer(inputs, share_inputs=True, share_outputs=False)
        return {port.any_name: value for port, value in results.items()}

    return run


def onnxruntime_graphs(repository: Path) -> dict[str, Graph]:
    """The f32 graphs in ONNX Runtime, its own defaults but for the number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    graphs: dict[str, Graph] = {}
    for name, path in graph_files(repository, read_repository(repository)[0]).items():
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        graphs[name] = _onnxruntime_graph(session)
    return graphs


def _onnxruntime_graph(session: Any) -> Graph:
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def eager_graphs(recipe: Path) -> dict[str, Graph]:
    """The networks in PyTorch, as they are trained: f32, nothing folded, compiled or fused."""
    import torch

    from cxrexport.build import random_networks
    from cxrexport.ensemble import AVERAGE, TorchGraphs
    from cxrexport.networks import Average
    from cxrexport.training.recipe import load_recipe

    torch.set_num_threads(usable_cores())
    loaded = load_recipe(str(recipe))
    average = Average([1.0] * len(loaded.served))
    graphs = TorchGraphs({**random_networks(loaded), AVERAGE: average})
    return {name: partial(graphs.run, name) for name in graphs_of(loaded.served)}


class Chain:
    """The ensemble as a loop sees it: each of its steps in turn, with the time of each."""

    def __init__(self, repository: Path, graphs: dict[str, Graph]) -> None:
        spec = read_repository(repository)[0]
        self._spec, self._ensemble = spec.preprocessing, Ensemble(self, spec.members)
        reference = repository / ADMISSION / "1" / "reference.json"
        known = reference.is_file()
        self._reference = Reference.from_json(reference.read_bytes()) if known else None
        self._graphs = graphs
        self.seconds: dict[str, float] = defaultdict(float)

    def __call__(self, encoded: bytes) -> float:
        """Probability of one encoded film."""
        prepared = self._timed("preprocess", lambda: preprocess(encoded, self._spec))
        film = np.ascontiguousarray(prepared.image[None], dtype=np.float32)
        said = self._ensemble.judge(film)
        maps = film[0, 0], said["LUNGS"][0, 0], said["EMBEDDING"][0]
        judged = (prepared.header_flags, *maps, self._reference)
        self._timed(ADMISSION, lambda: admission_flags(*judged))
        return float(said["PROBABILITY"].item())

    def run(self, graph: str, inputs: Arrays) -> Arrays:
        """Run one graph, as the ensemble asks for it."""
        return self._timed(graph, lambda: self._graphs[graph](inputs))

    def _timed(self, name: str, call: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        result = call()
        self.seconds[name] += time.perf_counter() - begin
        return result


def main(
    engine: Annotated[str, typer.Argument(help="eager, onnxruntime or openvino.")],
    repository: Annotated[Path, typer.Option()],
    recipe: Annotated[Path | None, typer.Option(help="Of eager's networks.")] = None,
    precision: Annotated[str, typer.Option(help="Of openvino's graphs.")] = "f32",
) -> None:
    """Serve numbers of films on stdin until it ends."""
    answers = sys.stdout
    begin = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # a library's words are no answer
        makers: dict[str, Callable[[], dict[str, Graph]]] = {
            "eager": lambda: eager_graphs(recipe or Path("starter")),
            "onnxruntime": lambda: onnxruntime_graphs(repository),
            "openvino": lambda: openvino_graphs(repository, precision),
        }
        chain, films = Chain(repository, makers[engine]()), payloads()
    print(json.dumps({"ready_s": time.perf_counter() - begin}), file=answers, flush=True)
    for line in sys.stdin:
        chain.seconds.clear()
        latencies, probabilities = [], []
        for turn in range(int(line)):
            begin = time.perf_counter()
            probabilities.append(chain(films[turn % len(films)]))
            latencies.append(time.perf_counter() - begin)
        seconds = {name: total / len(latencies) for name, total in chain.seconds.items()}
        answer = {"latencies_s": latencies, "graph_s": seconds, "probabilities": probabilities}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    typer.run(main)
