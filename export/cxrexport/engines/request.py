"""What plans to build, where they go, and whether those that are there fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxrclient.serving import (
    PASSPORT,
    PLAN,
    Passport,
    PassportUnreadable,
    passport_faults,
    read_passport,
)
from cxrexport.engines.builder import Profile
from cxrexport.engines.library import Architecture, Library, Target
from cxrexport.engines.precision import Precision


@dataclass(frozen=True)
class EngineRequest:
    """What engines to build.

    Attributes:
        repository: the model repository.
        architecture: what for.
        precision: of the convolutions.
        max_batch: films in one inference at most; None takes what the configuration sends.
        preferred_batch: the batch that the engine is tuned for; None takes the largest.
        force: build those again that fit.
    """

    repository: Path
    architecture: Architecture = "current"
    precision: Precision = "fp16"
    max_batch: int | None = None
    preferred_batch: int | None = None
    force: bool = False

    def engine(self, graph: str) -> Path:
        """Where the engine of a graph goes."""
        return self.repository / graph / "1" / PLAN

    def passport(self, graph: str) -> Path:
        """Where its passport goes."""
        return self.repository / graph / "1" / PASSPORT

    def onnx(self, graph: str) -> Path:
        """The graph it is built from."""
        return self.repository / graph / "1" / "model.onnx"

    @property
    def timing_folder(self) -> Path:
        """Beside the repository: Triton would take it for a model inside."""
        repository = self.repository.resolve()
        return repository.with_name(f"{repository.name}.engines")


def why_needed(
    request: EngineRequest, graph: str, library: Library, target: Target, profile: Profile
) -> str | None:
    """Say why a graph's engine must be built; None where the one that is there fits."""
    engine = request.engine(graph)
    if request.force:
        return "asked for"
    if not engine.is_file():
        return "missing"
    try:
        passport = read_passport(request.passport(graph))
    except PassportUnreadable as error:
        return f"its passport {error}"
    for what in passport_faults(passport, engine, request.onnx(graph), profile.maximum):
        return f"it {what}"
    wanted = {
        "TensorRT version": (passport.tensorrt_version, library.version),
        "architecture": (passport.architecture, request.architecture),
        "compute capability": (passport.compute_capability, target.compute_capability),
        "precision": (passport.precision, request.precision),
        "largest batch": (passport.max_batch, profile.maximum),
        "preferred batch": (_preferred(passport), profile.preferred),
    }
    for name, (found, expected) in wanted.items():
        if found != expected:
            return f"its {name} is {found}, asked for is {expected}"
    return None


def _preferred(passport: Passport) -> int | None:
    shapes = next(iter(passport.profile.values()), {})
    return next(iter(shapes.get("preferred", ())), None)
