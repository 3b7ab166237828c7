"""How far engines, or graphs that stand in for them, are from the fp32 graphs: on whole films.

The ensemble is run as Triton runs it, each side on its own lung maps, so errors add up as they
would when it is served. The reference is fp32 ONNX in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from cxrclient.serving import Parity
from cxrexport.admission import Reference, admission_flags
from cxrexport.errors import EngineError
from cxrexport.repository.spec import MEMBERS, RepositorySpec

__all__ = ["EngineGraphs", "Graphs", "OnnxGraphs", "compare", "judge_films"]

Arrays = dict[str, npt.NDArray[Any]]
_LUNG = 0.5
"""LUNGS above it is lung, as it is drawn and written."""


class Graphs(Protocol):
    """The six graphs, however they are computed."""

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Return the outputs of one graph by name, for inputs [1, …]."""


class OnnxGraphs:
    """ONNX Runtime on the CPU.

    Args:
        models: graph → serialised ONNX.
    """

    def __init__(self, models: Mapping[str, bytes]) -> None:
        import onnxruntime

        self._sessions = {
            graph: onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
            for graph, model in models.items()
        }

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """See `Graphs.run`."""
        session = self._sessions[graph]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """See `Graphs.run`."""
        outputs = self._runners[graph].infer(feed_dict=dict(inputs))
        # The runner reuses its buffers for the next film.
        return {name: np.array(value) for name, value in outputs.items()}


def judge_films(
    graphs: Graphs,
    spec: RepositorySpec,
    films: npt.NDArray[np.float32],
    reference: Reference | None,
) -> list[Arrays]:
    """Run the ensemble film by film, and the gate on what it says.

    Args:
        graphs: what computes.
        spec: names of the tensors between the graphs.
        films: float32 [n, 1, S, S] in 0..1.
        reference: of the repository's gate; None where it has none.

    Returns:
        for each film LUNGS, resnet50's EMBEDDING, and the outputs of `average`, batch axis and all;
        FLAGS, str [k], are the gate's codes for a film whose header says nothing.
    """
    return [_judge(graphs, spec, film[None], reference) for film in films]


def _judge(
    graphs: Graphs,
    spec: RepositorySpec,
    film: npt.NDArray[np.float32],
    reference: Reference | None,
) -> Arrays:
    inputs = {"CXR": film, **graphs.run("segment", {"CXR": film})}
    votes: Arrays = {}
    answers = {}
    for member in MEMBERS:
        answers[member] = graphs.run(member, inputs)
        votes |= {f"{name}_{member.upper()}": answers[member][name] for name in ("LOGITS", "CAM")}
    ordered = {tensor.name: votes[tensor.name] for tensor in spec.edges("average").inputs}
    averaged = graphs.run("average", ordered)
    lungs, embedding = inputs["LUNGS"], answers["resnet50"]["EMBEDDING"]
    flags = admission_flags((), film[0, 0], lungs[0, 0], embedding[0], reference)
    return {
        **averaged,
        "LUNGS": lungs,
        "EMBEDDING": embedding,
        "FLAGS": np.array(flags, dtype=np.str_),
    }


def compare(
    reference: Sequence[Arrays], found: Sequence[Arrays], threshold: float, real_films: int
) -> Parity:
    """Return the largest differences over films; a NaN anywhere stays NaN, and fails the bars.

    Args:
        reference: of the fp32 graphs, as `judge_films` returns it.
        found: of the engines, on the same films.
        threshold: above which a film is positive.
        real_films: how many of the films were taken of a person.
    """
    pairs = list(zip(reference, found, strict=True))

    def worst(name: str) -> float:
        return float(np.max([np.abs(a[name] - b[name]).max() for a, b in pairs]))

    sides = [(a["PROBABILITY"] > threshold) != (b["PROBABILITY"] > threshold) for a, b in pairs]
    return Parity(
        films=len(pairs),
        probability=worst("PROBABILITY"),
        members=worst("MEMBERS"),
        embedding_cosine=float(np.min([_cosine(a["EMBEDDING"], b["EMBEDDING"]) for a, b in pairs])),
        lungs=worst("LUNGS"),
        heatmap=worst("HEATMAP"),
        labels_changed=int(np.sum(sides)),
        lungs_dice=float(np.min([_dice(a["LUNGS"], b["LUNGS"]) for a, b in pairs])),
        flags_changed=sum(a["FLAGS"].tolist() != b["FLAGS"].tolist() for a, b in pairs),
        real_films=real_films,
    )


def _dice(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Dice coefficient of two lung maps above 0.5: 1 where both are empty; a NaN stays NaN."""
    if np.isnan(one).any() or np.isnan(other).any():
        return float("nan")
    a, b = one > _LUNG, other > _LUNG
    sizes = int(a.sum()) + int(b.sum())
    return 1.0 if sizes == 0 else 2.0 * int((a & b).sum()) / sizes


def _cosine(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Cosine of the angle between two embeddings; 1 where both are zero, 0 where one is."""
    a, b = (np.asarray(values, np.float64).ravel() for values in (one, other))
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    if lengths == 0.0:
        return float(np.array_equal(a, b))
    return float(a @ b / lengths)
