"""What a server says of a film, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

import cxrclient
from cxrclient.errors import FilmError, UsageError
from cxrclient.films import Film, lung_fraction
from cxrclient.wire.answer import read_answer
from cxrclient.wire.ensemble import EnsembleInfo, ModelInfo, OperatingPoint

__all__ = [
    "EnsembleInfo",
    "ModelInfo",
    "OperatingPoint",
    "Prediction",
    "failure_record",
    "maps_of",
    "prediction_from_answer",
    "shortest_float",
    "with_film",
]

FloatArray = npt.NDArray[np.float32]


class _OfFilm:
    """Has a film, and tells nobody: it is no field, so no repr, `asdict`, copy or pickle has it."""

    __slots__ = ("_film",)

    @property
    def film(self) -> Film | None:
        return getattr(self, "_film", None)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Prediction(_OfFilm):
    """What the ensemble says of one film.

    Attributes:
        film: what the film's header says, patient and UIDs included, without the payload. It is
            in no repr, record, `asdict` or pickle; None in a copy.
        path: where the film came from; None where nothing says.
        film_id: SOP Instance UID, or sha256 (hex) of the file.
        probability: of the positive class, 0..1: the mean of the members.
        label: the class that the server's threshold makes of it.
        members: each backbone's probability of the positive class.
        votes: how many members say positive.
        lung_fraction: share of the film's area that is lung, 0..1.
        embedding: float32 [128], for similar films.
        flags: codes of what the server noticed about the film; often empty.
        warnings: those of the flags that cast doubt on the prediction: warnings, and without the
            gate also what would have turned the film away. `EnsembleInfo.admission` explains them.
        model: which model.
        latency_ms: from sending the film to having the answer, waiting in queues included.
        lungs: float32 [S, S], lung probability, 0 in what is neither of the two largest parts;
            this and all below only with `maps=True`.
        heatmap: float32 [S/32, S/32], 0..1: where the members looked.
        cxr: float32 [S, S], 0..1: the film as the networks saw it.
        geometry: float32 [8]: how the square lies on the film.
    """

    path: str | None
    film_id: str
    probability: float
    label: str
    members: dict[str, float]
    votes: int
    lung_fraction: float
    embedding: FloatArray = field(repr=False)
    flags: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    model: ModelInfo
    latency_ms: float
    lungs: FloatArray | None = field(default=None, repr=False)
    heatmap: FloatArray | None = field(default=None, repr=False)
    cxr: FloatArray | None = field(default=None, repr=False)
    geometry: FloatArray | None = field(default=None, repr=False)

    def record(self, *, embedding: bool = False) -> dict[str, Any]:
        """Give the prediction as plain JSON values, without arrays.

        Args:
            embedding: whether the 128 numbers of the embedding are there too, as a list.
        """
        return {
            "path": self.path,
            "status": "ok",
            "film_id": self.film_id,
            "probability": self.probability,
            "label": self.label,
            "members": dict(self.members),
            "votes": self.votes,
            "lung_fraction": round(self.lung_fraction, 4),
            "flags": list(self.flags),
            "warnings": list(self.warnings),
            "model": {"name": self.model.name, "digest": self.model.digest},
            "latency_ms": round(self.latency_ms, 1),
            **({"embedding": list(map(shortest_float, self.embedding))} if embedding else {}),
        }

    def _repr_html_(self) -> str:
        """As a notebook shows it, with the research-use sentence."""
        module, _, name = cxrclient.IN_A_NOTEBOOK.partition(":")
        html: str = getattr(import_module(module), name)(self)
        return html


def failure_record(error: FilmError) -> dict[str, Any]:
    """A film without a prediction as plain JSON values."""
    return error.record()


def prediction_from_answer(
    info: EnsembleInfo,
    message: bytes,
    *,
    film: Film,
    latency_ms: float,
    maps: bool,
    gate: bool = True,
) -> Prediction:
    """Check the ensemble's answer and put it in words.

    Args:
        info: what the ensemble said of itself.
        message: a serialised `ModelInferResponse` to one film.
        film: as in Prediction; so is the next.
        latency_ms: see there.
        maps: whether HEATMAP and CXR were asked for too, and all four maps are kept.
        gate: whether a film that the server would turn away has no prediction.

    Raises:
        FilmError: `BAD_ANSWER` (failed) where the answer is not what the ensemble promises; with
            `gate` the server's own code (rejected) where it would turn the film away.
    """
    told = read_answer(info, message, maps=maps)
    if gate:
        info.admission.refuse(told.flags)
    tensors = told.tensors
    probability = shortest_float(tensors["PROBABILITY"][0])
    lungs, geometry = tensors["LUNGS"][0], tensors["GEOMETRY"]
    prediction = Prediction(
        path=film.path,
        film_id=film.film_id,
        probability=probability,
        label=info.labels[probability > info.threshold],
        members=dict(zip(info.members, map(shortest_float, tensors["MEMBERS"]), strict=True)),
        votes=int(tensors["VOTES"][0]),
        lung_fraction=lung_fraction(lungs, geometry),
        embedding=tensors["EMBEDDING"],
        flags=told.flags,
        warnings=info.admission.warnings(told.flags),
        model=info.model,
        latency_ms=latency_ms,
        lungs=lungs if maps else None,
        heatmap=tensors["HEATMAP"] if maps else None,
        cxr=tensors["CXR"][0] if maps else None,
        geometry=geometry if maps else None,
    )
    return with_film(prediction, film)


def with_film(prediction: Prediction, film: Film) -> Prediction:
    """Let a prediction have its film."""
    object.__setattr__(prediction, "_film", film)
    return prediction


def shortest_float(value: float | np.floating[Any]) -> float:
    """The float with the fewest digits that is this float32: 0.1, not 0.10000000149."""
    return float(str(np.float32(value)))


def maps_of(prediction: Prediction, *names: str) -> list[FloatArray]:
    """Maps of a prediction by their names.

    Raises:
        UsageError: the prediction was made without `maps=True`.
    """
    maps = [getattr(prediction, name) for name in names]
    if any(values is None for values in maps):
        raise UsageError("The prediction has no maps; ask for them: `predict(film, maps=True)`.")
    return maps
