"""What calibration fits: temperatures and operating points, stored with a run and then served."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from cxrclient.files import sha256_of
from cxrexport.errors import CheckpointError
from cxrexport.evaluation.calibration.operating_points import OperatingPoint, choose_threshold
from cxrexport.evaluation.calibration.temperature import fit_temperature, fit_together, why_doubtful
from cxrexport.evaluation.scores import COMPARISON, Scores


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Calibration:
    """What a run stores in `calibration.json`, and what is built into the served ensemble.

    Attributes:
        labels: negative and positive class.
        members: the ensemble's networks, whose mean the operating points are for.
        temperatures: network → divisor of its logits; every network scored, not only members.
        operating_points: in the order asked for; empty where there is no member.
        fitted_on: the split.
        films: of that split.
        positives: of them.
        flags: network → what to mind of its temperature.
        together: what the members' temperatures are multiplied by in the ensemble.

    Raises:
        ValueError: values that nothing can be served with.
    """

    labels: tuple[str, str]
    members: tuple[str, ...]
    temperatures: Mapping[str, float]
    operating_points: tuple[OperatingPoint, ...]
    fitted_on: str
    films: int
    positives: int
    flags: Mapping[str, str] = field(default_factory=dict)
    together: float = 1.0

    def __post_init__(self) -> None:
        if len(set(self.labels)) != 2:
            raise ValueError(f"labels must be two different names, not {self.labels}")
        if any(not 0 < value < np.inf for value in (*self.temperatures.values(), self.together)):
            raise ValueError(
                f"temperatures must be positive, not {dict(self.temperatures)}, {self.together}"
            )
        if lacking := [name for name in self.members if name not in self.temperatures]:
            raise ValueError(f"no temperature for {', '.join(lacking)}")
        if not 0 <= self.positives <= self.films:
            raise ValueError(f"{self.positives} positive films of {self.films}")

    @property
    def in_ensemble(self) -> dict[str, float]:
        """Network → divisor of its logits as a member."""
        return {name: value * self.together for name, value in self.temperatures.items()}

    def to_json(self) -> str:
        """Canonical JSON: the same calibration, the same text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what `to_json` wrote.

        Raises:
            CheckpointError: not a calibration, or one with impossible values.
        """
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'calibration'}: {e['msg']}"
                for e in error.errors()
            )
            raise CheckpointError(
                f"This is no calibration ({problems}); run `cxrexport evaluate` again."
            ) from error

    @property
    def digest(self) -> str:
        """Sha256 hex of the canonical JSON."""
        return sha256_of(self.to_json().encode())

    def point(self, name: str) -> OperatingPoint | None:
        """The operating point of that name."""
        return next((point for point in self.operating_points if point.name == name), None)


def fit_calibration(
    validation: Scores,
    *,
    sensitivity: float | None = 0.95,
    specificity: float | None = 0.95,
    youden: bool = False,
    fitted_on: str = "validation",
) -> Calibration:
    """Fit the temperatures of all networks, and the ensemble's operating points.

    Each network gets its own; then the members' are all multiplied by one number, so that their
    mean is right.

    Args:
        validation: scores of films of both classes that the networks did not learn from and that
            nothing is judged on.
        sensitivity: of an operating point, in 0..1; None for none.
        specificity: likewise.
        youden: whether there is one with the best sum of both.
        fitted_on: the films' split.

    Raises:
        ValueError: one class only.
    """
    truth = validation.truth
    margins = validation.margins
    temperatures = {name: fit_temperature(margins[name], truth) for name in in_order(margins)}
    doubts = {name: why_doubtful(margins[name], truth, t) for name, t in temperatures.items()}
    points: list[OperatingPoint] = []
    together = 1.0
    if validation.members:
        alone = [margins[name] / temperatures[name] for name in validation.members]
        together = fit_together(alone, truth) if len(alone) > 1 else 1.0
        served = {name: value * together for name, value in temperatures.items()}
        probability = validation.ensemble(served)
        if sensitivity is not None:
            points.append(choose_threshold(truth, probability, "sensitivity", sensitivity))
        if specificity is not None:
            points.append(choose_threshold(truth, probability, "specificity", specificity))
        if youden:
            points.append(choose_threshold(truth, probability, "youden"))
    return Calibration(
        labels=validation.labels,
        members=validation.members,
        temperatures=temperatures,
        operating_points=tuple(points),
        fitted_on=fitted_on,
        films=len(validation),
        positives=int(truth.sum()),
        together=together,
        flags={name: doubt for name, doubt in doubts.items() if doubt},
    )


def in_order(names: Iterable[str]) -> list[str]:
    """The study's networks in its order, then others by name."""
    there = set(names)
    return [*(n for n in COMPARISON if n in there), *sorted(there.difference(COMPARISON))]
