"""What engines to build, where they go, and whether those that are there fit."""

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
from cxrexport.engines.library import Architecture, Flavour, Library, Target
from cxrexport.engines.precision import Precision
from cxrexport.errors import EngineError

__all__ = ["EngineRequest", "why_needed"]


@dataclass(frozen=True)
class EngineRequest:
    """What engines to build.

    Attributes:
        repository: the model repository.
        flavour: `tensorrt` for the plans that Triton serves, `tensorrt-rtx` for engines elsewhere.
        architecture: what for.
        precision: of the convolutions.
        max_batch: films in one inference at most; None takes what the configuration sends.
        preferred_batch: the batch that the engine is tuned for; None takes the largest.
        output: where TensorRT-RTX engines go; None with `tensorrt`, whose plans go into the
            repository.
        force: build those again that fit.

    Raises:
        EngineError: the flavour and the place do not go together.
    """

    repository: Path
    flavour: Flavour = "tensorrt"
    architecture: Architecture = "current"
    precision: Precision = "fp16"
    max_batch: int | None = None
    preferred_batch: int | None = None
    output: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.flavour == "tensorrt" and self.output is not None:
            raise EngineError(
                "TensorRT plans go into the repository, where Triton finds them: leave --output out"
            )
        if self.flavour == "tensorrt-rtx" and self.output is None:
            raise EngineError(
                "Triton cannot load TensorRT-RTX engines, so they do not go into the repository: "
                "name a folder with --output DIR"
            )
        if self.output is not None and self.output.resolve().is_relative_to(
            self.repository.resolve()
        ):
            raise EngineError(
                f"{self.output} lies inside the repository, where Triton takes every folder for a "
                f"model: name another with --output DIR"
            )

    def engine(self, graph: str) -> Path:
        """Where the engine of a graph goes."""
        if self.output is None:
            return self.repository / graph / "1" / PLAN
        return self.output / f"{graph}.engine"

    def passport(self, graph: str) -> Path:
        """Where its passport goes."""
        if self.output is None:
            return self.repository / graph / "1" / PASSPORT
        return self.output / f"{graph}.engine.json"

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
        "flavour": (passport.flavour, request.flavour),
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
