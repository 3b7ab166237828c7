"""What a server says of a film, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrclient._geometry import lung_fraction
from cxrclient.admission import Admission
from cxrclient.errors import FilmError, UsageError

__all__ = [
    "EnsembleInfo",
    "ModelInfo",
    "OperatingPoint",
    "Prediction",
    "failure_record",
    "maps_of",
    "prediction_from_tensors",
    "shortest_float",
]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model made a prediction.

    Attributes:
        name: for people, as the repository was built with (for example `starter`).
        digest: sha256 (hex) over graphs, preprocessing and labels; equal digests, equal answers.
    """

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold that was chosen on the model's validation films, and what for.

    Attributes:
        name: for example `sensitivity 95 %`.
        threshold: on the calibrated probability, 0..1.
        rule: what was fixed: `sensitivity`, `specificity`, or `youden` for the best sum of both.
        target: that was aimed at, 0..1; None for `youden`.
        reason: what to mind of it; None if nothing.
    """

    name: str
    threshold: float
    rule: str
    target: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class EnsembleInfo:
    """The ensemble's own words, read from its configuration when the client connects.

    Attributes:
        model: name and digest.
        labels: (negative, positive).
        threshold: a film whose probability is above it gets the positive label.
        image_size_px: side S of the network's square.
        embedding_size: length of the embedding.
        members: the backbones, in the order of the MEMBERS tensor.
        preprocessing_digest: sha256 (hex) of the preprocessing.
        notice: the sentence to show wherever a probability is shown.
        calibrated: whether the members' probabilities were fitted to match frequencies.
        operating_points: thresholds that were chosen with the calibration.
        operating_point: the one whose threshold is in force; None for a plain threshold.
        admission: which flags turn a film away, and which only warn.
    """

    model: ModelInfo
    labels: tuple[str, str]
    threshold: float
    image_size_px: int
    embedding_size: int
    members: tuple[str, ...]
    preprocessing_digest: str
    notice: str
    calibrated: bool = False
    operating_points: tuple[OperatingPoint, ...] = ()
    operating_point: OperatingPoint | None = None
    admission: Admission = field(default_factory=Admission)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def digest(self) -> str:
        """The model's digest."""
        return self.model.digest

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> EnsembleInfo:
        """Read the `parameters` of the ensemble's configuration; more of them than known are fine.

        Raises:
            KeyError: one is missing.
            ValueError: one is not what it should be.
        """
        labels, members = (json.loads(parameters[name]) for name in ("labels", "members"))
        for name, strings in (("labels", labels), ("members", members)):
            if not isinstance(strings, list) or not all(isinstance(s, str) for s in strings):
                raise ValueError(f"{name} is not a list of names")
        if len(labels) != 2 or not members:
            raise ValueError("labels are not two, or there are no members")
        points, point = _operating_points(parameters)
        return cls(
            model=ModelInfo(parameters["model_name"], parameters["model_digest"]),
            labels=(labels[0], labels[1]),
            threshold=float(parameters["threshold"]),
            image_size_px=int(parameters["image_size_px"]),
            embedding_size=int(parameters["embedding_size"]),
            members=tuple(members),
            preprocessing_digest=parameters["preprocessing_digest"],
            notice=parameters["notice"],
            # Repositories of before there was calibration do not speak of it, and have none.
            calibrated=json.loads(parameters.get("calibration", "null")) is not None,
            operating_points=points,
            operating_point=point,
            admission=Admission.from_parameter(parameters.get("admission")),
        )


def _operating_points(
    parameters: Mapping[str, str],
) -> tuple[tuple[OperatingPoint, ...], OperatingPoint | None]:
    """All of them, and the one in force."""
    try:
        points = tuple(
            OperatingPoint(
                name=str(point["name"]),
                threshold=float(point["threshold"]),
                rule=str(point["rule"]),
                target=None if point["target"] is None else float(point["target"]),
                reason=point.get("reason"),
            )
            for point in json.loads(parameters.get("operating_points", "[]"))
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"operating_points cannot be read ({error})") from error
    in_force = json.loads(parameters.get("operating_point", "null"))
    if in_force is None:
        return points, None
    named = {point.name: point for point in points}
    if in_force not in named:
        raise ValueError(f"operating_point {in_force!r} is none of the operating_points")
    return points, named[in_force]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Prediction:
    """What the ensemble says of one film.

    Attributes:
        path: where the film came from; None for bytes.
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
        lungs: float32 [S, S], lung probability; this and all below only with `maps=True`.
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

    def record(self) -> dict[str, Any]:
        """The prediction as plain JSON values, without arrays."""
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
        }

    def _repr_html_(self) -> str:
        """As a notebook shows it, with the research-use sentence."""
        from cxrclient._notebook import prediction_html

        return prediction_html(self)


def failure_record(error: FilmError) -> dict[str, Any]:
    """A film without a prediction as plain JSON values."""
    return {
        "path": error.path,
        "status": error.status,
        "code": error.code,
        "message": error.message,
        "retriable": error.retriable,
    }


def prediction_from_tensors(
    info: EnsembleInfo,
    tensors: Mapping[str, Any],
    *,
    path: str | None,
    film_id: str,
    latency_ms: float,
    maps: bool,
    gate: bool = True,
) -> Prediction:
    """Check the ensemble's answer and put it in words.

    Args:
        info: what the ensemble said of itself.
        tensors: its outputs by name, without the batch axis.
        path: as in Prediction; so are the next two.
        film_id: see there.
        latency_ms: see there.
        maps: whether `tensors` has HEATMAP and CXR, and all four maps are kept.
        gate: whether a film that the server would turn away has no prediction.

    Raises:
        FilmError: `BAD_ANSWER` (failed) where the tensors are not what the ensemble promises; with
            `gate` the server's own code (rejected) where it would turn the film away.
    """
    _check_tensors(info, tensors)
    probability = shortest_float(tensors["PROBABILITY"][0])
    lungs, geometry = tensors["LUNGS"][0], tensors["GEOMETRY"]
    try:
        fraction = lung_fraction(lungs, geometry)
        flags = tuple(str(code) for code in json.loads(tensors["FLAGS"][0]))
    except (ValueError, TypeError) as error:
        raise _bad_answer(f"GEOMETRY or FLAGS cannot be read ({error})") from error
    if gate:
        info.admission.refuse(flags)
    return Prediction(
        path=path,
        film_id=film_id,
        probability=probability,
        label=info.labels[probability > info.threshold],
        members=dict(zip(info.members, map(shortest_float, tensors["MEMBERS"]), strict=True)),
        votes=int(tensors["VOTES"][0]),
        lung_fraction=fraction,
        embedding=tensors["EMBEDDING"],
        flags=flags,
        warnings=info.admission.warnings(flags),
        model=info.model,
        latency_ms=latency_ms,
        lungs=lungs if maps else None,
        heatmap=tensors["HEATMAP"] if maps else None,
        cxr=tensors["CXR"][0] if maps else None,
        geometry=geometry if maps else None,
    )


def _check_tensors(info: EnsembleInfo, tensors: Mapping[str, Any]) -> None:
    """Shapes as promised, and no NaN: a probability that is no number must not become a label."""
    size = info.image_size_px
    shapes = {
        "PROBABILITY": (1,),
        "MEMBERS": (len(info.members),),
        "EMBEDDING": (info.embedding_size,),
        "LUNGS": (1, size, size),
        "CXR": (1, size, size),
        "GEOMETRY": (8,),
    }
    for name, shape in shapes.items():
        tensor = tensors.get(name)
        if tensor is None and name == "CXR":
            continue
        if tensor is None or tensor.shape != shape or not np.isfinite(tensor).all():
            raise _bad_answer(f"{name} is not {list(shape)} finite numbers")


def _bad_answer(what: str) -> FilmError:
    return FilmError(
        "BAD_ANSWER", f"In the server's answer {what}. Its log may say why.", status="failed"
    )


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
