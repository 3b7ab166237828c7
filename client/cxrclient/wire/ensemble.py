"""What a server says of its ensemble: read from its configuration, and checked whole."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cxrclient.files import parse_json
from cxrclient.wire.admission import Admission

ENSEMBLE = "cxr"
"""The name that it is served under."""

# Far beyond any network of ours, and small enough that nobody is made to take memory for them.
_SIZES_PX = range(32, 8192 + 1)
_EMBEDDING_SIZES = range(1, 32768 + 1)  # Milvus stores no longer vector

LARGEST_ANSWER_BYTES = 3 * 4 * _SIZES_PX[-1] ** 2 + (1 << 20)
"""Lung map, heatmap and film in float32, and the rest."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LONGEST_OF_CODE = {"scheme": 16, "value": 64, "meaning": 64}
"""Characters. Source: DICOM PS3.5 section 6.2, SH and LO; a value above 16 is a LongCodeValue."""


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
class Finding:
    """What the positive class is, as a coded concept. Source: DICOM PS3.3 section 8.

    Attributes:
        scheme: which list the code is of (CodingSchemeDesignator), for example `SCT`, SNOMED CT.
        value: the code (CodeValue), for example `56717001`.
        meaning: in words (CodeMeaning), for example `Tuberculosis`.

    Raises:
        ValueError: DICOM could not hold one of them.
    """

    scheme: str
    value: str
    meaning: str

    def __post_init__(self) -> None:
        for name, longest in _LONGEST_OF_CODE.items():
            text = getattr(self, name)
            if (
                not isinstance(text, str)
                or not 1 <= len(text) <= longest
                or text != text.strip()
                or "\\" in text
                or not text.isprintable()
            ):
                raise ValueError(
                    f"the {name} of a finding is a text of 1 to {longest} characters without a "
                    f"backslash, in quotation marks where it is a number, not {text!r}"
                )

    def __str__(self) -> str:
        return f"{self.meaning} ({self.scheme} {self.value})"


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
        finding: what the positive label is, as a coded concept; None where nobody named one.
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
    finding: Finding | None = None

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
        labels, members = _names(parameters, "labels"), _names(parameters, "members")
        if len(labels) != 2:
            raise ValueError("labels are not two")
        # Repositories of before there was calibration do not speak of it, and have none.
        calibration = _json(parameters, "calibration", "null")
        if calibration is not None and not isinstance(calibration, dict):
            raise ValueError("calibration cannot be read")
        threshold = _share(float(parameters["threshold"]), "threshold")
        points = _operating_points(parameters)
        return cls(
            model=ModelInfo(_words(parameters, "model_name"), _digest(parameters, "model_digest")),
            labels=(labels[0], labels[1]),
            threshold=threshold,
            image_size_px=_size(parameters, "image_size_px", _SIZES_PX),
            embedding_size=_size(parameters, "embedding_size", _EMBEDDING_SIZES),
            members=members,
            preprocessing_digest=_digest(parameters, "preprocessing_digest"),
            notice=_words(parameters, "notice"),
            calibrated=calibration is not None,
            operating_points=points,
            operating_point=_in_force(parameters, points, threshold),
            admission=Admission.from_parameter(parameters.get("admission")),
            finding=_finding(parameters),
        )


def _json(parameters: Mapping[str, str], name: str, otherwise: str | None = None) -> Any:
    text = parameters[name] if otherwise is None else parameters.get(name, otherwise)
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read ({error})") from error


def _names(parameters: Mapping[str, str], name: str) -> tuple[str, ...]:
    names = _json(parameters, name)
    if not isinstance(names, list) or not all(
        isinstance(one, str) and one.strip() for one in names
    ):
        raise ValueError(f"{name} is not a list of names")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{name} is empty, or has a name twice")
    return tuple(names)


def _words(parameters: Mapping[str, str], name: str) -> str:
    if not parameters[name].strip():
        raise ValueError(f"{name} is empty")
    return parameters[name]


def _digest(parameters: Mapping[str, str], name: str) -> str:
    if not _DIGEST.fullmatch(parameters[name]):
        raise ValueError(f"{name} is not a sha256 in hex")
    return parameters[name]


def _size(parameters: Mapping[str, str], name: str, sizes: range) -> int:
    size = int(parameters[name])
    if size not in sizes:
        raise ValueError(f"{name} is not in {sizes.start}..{sizes.stop - 1}")
    return size


def _share(number: Any, name: str) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        raise ValueError(f"{name} is not a number in 0..1")
    return float(number)


def _operating_points(parameters: Mapping[str, str]) -> tuple[OperatingPoint, ...]:
    told = _json(parameters, "operating_points", "[]")
    try:
        points = tuple(
            OperatingPoint(
                name=point["name"],
                threshold=_share(point["threshold"], "its threshold"),
                rule=point["rule"],
                target=None if point["target"] is None else _share(point["target"], "its target"),
                reason=point.get("reason"),
            )
            for point in _listed(told)
        )
        if not all(
            isinstance(text, str) and text.strip()
            for point in points
            for text in (point.name, point.rule, point.reason or "none")
        ):
            raise ValueError("its words are no words")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"operating_points cannot be read ({error})") from error
    if len({point.name for point in points}) < len(points):
        raise ValueError("operating_points has a name twice")
    return points


def _finding(parameters: Mapping[str, str]) -> Finding | None:
    told = _json(parameters, "finding", "null")
    try:
        return None if told is None else Finding(**told)
    except TypeError as error:
        raise ValueError(f"finding cannot be read ({error})") from error


def _listed(told: Any) -> list[Any]:
    if not isinstance(told, list):
        raise TypeError("it is no list")
    return told


def _in_force(
    parameters: Mapping[str, str], points: tuple[OperatingPoint, ...], threshold: float
) -> OperatingPoint | None:
    name = _json(parameters, "operating_point", "null")
    if name is None:
        return None
    found = next((point for point in points if point.name == name), None)
    if found is None:
        raise ValueError(f"operating_point {name!r} is none of the operating_points")
    if not math.isclose(found.threshold, threshold, abs_tol=1e-9):
        raise ValueError(f"threshold {threshold} is not that of the operating_point {name!r}")
    return found
