"""Everything that cxrexport raises. Of a film it raises the FilmErrors of `cxrclient.errors`.

    CxrExportError
    ├── ManifestError        MANIFEST       rows of a manifest (file, line, column), all at once
    ├── RecipeError          RECIPE         a recipe that does not say what it must
    ├── CheckpointError      CHECKPOINT     weights that do not fit the network or the spec
    │   └── NoSuchWeights    (same code)    starting weights that nobody publishes
    ├── ExportError          EXPORT         a graph that does not agree with its network
    ├── EngineError          ENGINE         an engine that cannot be built, kept or trusted
    ├── QuantisationError    QUANTISATION   int8 graphs that are not as good, or cannot be judged
    └── RepositoryError      REPOSITORY     a model repository that is not whole

Each has a stable `code`, and a sentence that says what to do.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "CheckpointError",
    "CxrExportError",
    "EngineError",
    "ExportError",
    "ManifestError",
    "NoSuchWeights",
    "QuantisationError",
    "RecipeError",
    "RepositoryError",
]


class CxrExportError(Exception):
    """Something else failed, or the operating system refused something.

    Root of the tree: each error has a stable `code`, and a sentence that says what to do.
    """

    code: ClassVar[str] = "EXPORTER"
    mend: ClassVar[str] = (
        "Do what the message says; often a disk is full, or a file is not yours to write."
    )
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class ManifestError(CxrExportError):
    """Rows of a manifest are wrong; the message lists all of them with file, line and column."""

    code = "MANIFEST"
    mend = "Mend the rows that the message names; `cxrexport manifest check` reads it alone."
    exit_code = 2


class RecipeError(CxrExportError):
    """A training recipe does not say what it must."""

    code = "RECIPE"
    mend = "Mend the key that the message names; `cxrexport recipe reference` lists them."
    exit_code = 2


class CheckpointError(CxrExportError):
    """Weights do not fit the network, the recipe or the preprocessing spec."""

    code = "CHECKPOINT"
    mend = "Give weights of this network and this preprocessing, or train again."


class NoSuchWeights(CheckpointError):
    """No starting weights are known of a network, or not from where they are asked."""

    mend = "Name a network that the message lists."
    exit_code = 2


class ExportError(CxrExportError):
    """A graph does not agree with the network it came from."""

    code = "EXPORT"
    mend = "Please report it: graph and network should give the same numbers."


class EngineError(CxrExportError):
    """A TensorRT engine cannot be built here, cannot be kept, or differs from its graph."""

    code = "ENGINE"
    mend = "Build it on the GPU that serves, as the message says."


class QuantisationError(CxrExportError):
    """int8 graphs lower the AUC, cannot be judged, or cannot be made or kept.

    Attributes:
        accuracy: the comparison that led to a refusal; None where it did not come to one.
    """

    code = "QUANTISATION"
    mend = "Serve in f32 or bf16, or give other films."

    def __init__(self, message: str, accuracy: Any = None) -> None:
        super().__init__(message)
        self.accuracy = accuracy


class RepositoryError(CxrExportError):
    """A model repository is not whole or not what was generated."""

    code = "REPOSITORY"
    mend = "Build the repository again with `cxrexport build`."


def __getattr__(name: str) -> Any:
    """Give `FilmError`: model.py of older repositories imports it from here."""
    if name == "FilmError":
        from cxrclient.errors import FilmError

        return FilmError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
