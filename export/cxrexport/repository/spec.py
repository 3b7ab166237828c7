"""What a model repository is made from: one frozen spec, and the tensors at every model's edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from cxrclient.wire import Finding
from cxrexport.ensemble import (
    AVERAGE,
    DEFAULT_MEMBERS,
    SEGMENT,
    check_members,
    embedder_of,
    graphs_of,
    of_member,
)
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.repository.quantised import Quantised
from cxrexport.repository.reference import ServedReference

Weights = Literal["fp16", "int8"]
"""How a member's large weights lie in its graph's file (`cxrexport.stored_weights`)."""

PREPROCESS = "preprocess"
ADMISSION = "admission"
ENSEMBLE = "cxr"

CAM_STRIDE = 32
"""Every backbone halves the image five times."""


@dataclass(frozen=True)
class Tensor:
    """One tensor at a model's edge; `dims` leave the batch axis out."""

    name: str
    dtype: Literal["FP32", "INT32", "STRING"]
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Edges:
    """Inputs and outputs of one model, in order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class ServedPoint:
    """A threshold on the calibrated ensemble's probability, and what it was chosen for.

    Attributes:
        name: for example "sensitivity 95 %".
        threshold: a film above it is called positive, in 0..1.
        rule: what was fixed, "sensitivity" or "specificity", or "youden" for the best sum.
        target: that was aimed at, in 0..1; None for "youden".
        reason: what to mind of it; None if nothing.
    """

    name: str
    threshold: float
    rule: str
    target: float | None
    reason: str | None = None


@dataclass(frozen=True)
class ServedCalibration:
    """What makes the ensemble's probabilities believable, and the thresholds chosen with them.

    Attributes:
        temperatures: divisors of the members' logits, in their order; constants of the graph
            `average`.
        points: every operating point that was fitted.
        point: the name of the one that is served; None where the threshold is 0.5.
        fitted_on: the split.
        films: of that split.
        positives: of them.

    Raises:
        ValueError: a value that nothing can be served with.
    """

    temperatures: tuple[float, ...]
    points: tuple[ServedPoint, ...]
    point: str | None
    fitted_on: str
    films: int
    positives: int

    def __post_init__(self) -> None:
        if not self.temperatures or not min(self.temperatures) > 0:
            raise ValueError(f"temperatures must be positive, not {self.temperatures}")
        names = [point.name for point in self.points]
        if len(set(names)) < len(names):
            raise ValueError(f"two operating points have one name: {', '.join(names)}")
        if self.point is not None and self.point not in names:
            raise ValueError(f"{self.point!r} is none of the operating points {', '.join(names)}")

    @property
    def threshold(self) -> float:
        """That of the served operating point; 0.5 where there is none."""
        found = (point.threshold for point in self.points if point.name == self.point)
        return next(found, 0.5)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ServedCalibration:
        """Read what `dataclasses.asdict` made; an unknown or missing key raises TypeError."""
        fields = dict(values)
        fields["temperatures"] = tuple(fields["temperatures"])
        fields["points"] = tuple(ServedPoint(**point) for point in fields["points"])
        return cls(**fields)


@dataclass(frozen=True)
class RepositorySpec:
    """Everything that the configuration of a repository follows from, but `model.onnx`'s hashes.

    Attributes:
        model_name: the name users see, for example "starter".
        preprocessing: parameters of the one preprocessing; its `size_px` is the image size S.
        labels: (negative, positive) class, for example ("other", "covid").
        threshold: probability above which a film is called positive, in 0..1.
        notice: the sentence shown wherever a probability is shown.
        embedding_size: length of the vector that similar films are found by.
        max_batch_size: films that Triton may put into one inference.
        calibration: of the members and the threshold; None where nothing was fitted.
        quantised: the int8 variant; None where `cxrexport quantise` made none.
        reference: what the gate knows of chest films; None where `cxrexport admission` made none.
        members: the networks that vote, 1 to 5, in the order of the output MEMBERS.
        weights: how the members' are stored in their files.
        finding: what the positive class is, as a coded concept; None where the recipe names none.

    Raises:
        ValueError: a value that no repository can be made from.
    """

    model_name: str
    preprocessing: PreprocessingSpec
    labels: tuple[str, str]
    threshold: float
    notice: str
    embedding_size: int = 128
    max_batch_size: int = 16
    calibration: ServedCalibration | None = None
    quantised: Quantised | None = None
    reference: ServedReference | None = None
    members: tuple[str, ...] = DEFAULT_MEMBERS
    weights: Weights = "fp16"
    finding: Finding | None = None

    def __post_init__(self) -> None:
        if not self.model_name.strip():
            raise ValueError("model_name is empty")
        if len(self.labels) != 2 or len(set(self.labels)) != 2 or not all(self.labels):
            raise ValueError(f"labels must be two different names, not {self.labels!r}")
        if not 0.0 < self.threshold < 1.0:
            raise ValueError(f"threshold must lie between 0 and 1, not {self.threshold}")
        if not self.notice.strip():
            raise ValueError("notice is empty: say what the probabilities may be used for")
        if self.embedding_size < 1:
            raise ValueError(f"embedding_size must be positive, not {self.embedding_size}")
        if not 1 <= self.max_batch_size <= 64:
            raise ValueError(f"max_batch_size must lie in 1..64, not {self.max_batch_size}")
        check_members(self.members)
        if self.weights not in get_args(Weights):
            raise ValueError(f"weights must be fp16 or int8, not {self.weights!r}")
        if self.calibration is None:
            return
        if self.threshold != self.calibration.threshold:
            raise ValueError(
                f"threshold {self.threshold} is not the operating point's "
                f"{self.calibration.threshold}"
            )
        if len(self.calibration.temperatures) != len(self.members):
            raise ValueError(
                f"need {len(self.members)} temperatures, one a member, not "
                f"{self.calibration.temperatures}"
            )

    @property
    def graphs(self) -> tuple[str, ...]:
        """The models that are ONNX graphs."""
        return graphs_of(self.members)

    @property
    def embedder(self) -> str:
        """The member whose embedding the archive keeps; the others' stay inside."""
        return embedder_of(self.members)

    @property
    def judgement(self) -> str:
        """What a probability is worth and where the threshold is, in words."""
        fitted = self.calibration
        if fitted is None:
            return f"Not calibrated; a film above {self.threshold:g} is positive."
        why = f" ({fitted.point})" if fitted.point else ""
        return (
            f"Calibrated on {fitted.films} {fitted.fitted_on} films ({fitted.positives} positive); "
            f"a film above {self.threshold:.4g}{why} is positive."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as `repository.json` holds them.

        What is as it was before there was a choice is left out, so that repositories of before stay
        what they are.
        """
        chosen: dict[str, Any] = {}
        if self.members != DEFAULT_MEMBERS:
            chosen["members"] = list(self.members)
        if self.weights != "fp16":
            chosen["weights"] = self.weights
        if self.finding is not None:
            chosen["finding"] = asdict(self.finding)
        return {
            "model_name": self.model_name,
            "preprocessing": self.preprocessing.to_dict(),
            "labels": list(self.labels),
            "threshold": self.threshold,
            "notice": self.notice,
            "embedding_size": self.embedding_size,
            "max_batch_size": self.max_batch_size,
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "quantised": None if self.quantised is None else asdict(self.quantised),
            "reference": None if self.reference is None else asdict(self.reference),
            **chosen,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RepositorySpec:
        """Read what `to_dict` wrote; an unknown or missing key raises ValueError.

        Those with a default may be missing: repositories built before there were such have it.
        """
        may_lack = ("calibration", "quantised", "reference", "members", "weights", "finding")
        absent = {name: cls.__dataclass_fields__[name].default for name in may_lack}
        values = {**absent, **values}
        expected = set(cls.__dataclass_fields__)
        if set(values) != expected:
            raise ValueError(
                f"keys {sorted(set(values) ^ expected)} are unknown or missing in the spec"
            )
        fields = dict(values)
        fields["preprocessing"] = PreprocessingSpec.from_dict(fields["preprocessing"])
        fields["labels"] = tuple(fields["labels"])
        fields["members"] = tuple(fields["members"])
        if fields["calibration"] is not None:
            fields["calibration"] = ServedCalibration.from_dict(fields["calibration"])
        if fields["quantised"] is not None:
            fields["quantised"] = Quantised.from_dict(fields["quantised"])
        if fields["reference"] is not None:
            fields["reference"] = ServedReference.from_dict(fields["reference"])
        if fields["finding"] is not None:
            fields["finding"] = Finding(**fields["finding"])
        return cls(**fields)

    def edges(self, model: str) -> Edges:
        """Return the tensors at a model's edges.

        Args:
            model: one of `graphs`, PREPROCESS, ADMISSION or ENSEMBLE.
        """
        size = self.preprocessing.size_px
        image = Tensor("IMAGE", "STRING", (1,))
        cxr = Tensor("CXR", "FP32", (1, size, size))
        geometry = Tensor("GEOMETRY", "FP32", (8,))
        lungs = Tensor("LUNGS", "FP32", (1, size, size))
        embedding = Tensor("EMBEDDING", "FP32", (self.embedding_size,))
        cam_size = size // CAM_STRIDE
        cam = (cam_size, cam_size)
        judged = (
            Tensor("PROBABILITY", "FP32", (1,)),
            Tensor("MEMBERS", "FP32", (len(self.members),)),
            Tensor("VOTES", "INT32", (1,)),
        )
        heatmap = Tensor("HEATMAP", "FP32", cam)
        header = Tensor("HEADER_FLAGS", "STRING", (1,))
        flags = Tensor("FLAGS", "STRING", (1,))
        if model == PREPROCESS:
            return Edges((image,), (cxr, geometry, header))
        if model == ADMISSION:
            # The last three go in and come out: see the ensemble's steps in configs.py.
            return Edges((header, cxr, lungs, embedding), (flags, cxr, lungs, embedding))
        if model == SEGMENT:
            return Edges((cxr,), (lungs,))
        if model in self.members:
            logits = Tensor("LOGITS", "FP32", (2,))
            return Edges((cxr, lungs), (logits, embedding, Tensor("CAM", "FP32", cam)))
        if model == AVERAGE:
            logits_of = (Tensor(of_member("LOGITS", m), "FP32", (2,)) for m in self.members)
            cams_of = (Tensor(of_member("CAM", m), "FP32", cam) for m in self.members)
            return Edges((*logits_of, *cams_of), (*judged, heatmap))
        if model == ENSEMBLE:
            return Edges((image,), (*judged, embedding, heatmap, lungs, cxr, geometry, flags))
        raise ValueError(f"the repository has no model named {model!r}")
