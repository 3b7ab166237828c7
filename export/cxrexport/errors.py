"""Everything that cxrexport raises. Standard library only: the server imports it.

    CxrExportError
    ├── FilmError            one film cannot be judged; `CODE: sentence` reaches the client
    │   ├── NotReadable      NOT_READABLE   empty, truncated, damaged, or not an image
    │   ├── NoPixels         NO_PIXELS      a DICOM object without an image
    │   ├── MultiFrame       MULTI_FRAME    more than one frame
    │   ├── Colour           COLOUR         a colour image
    │   ├── Constant         CONSTANT       no contrast at all
    │   └── TooLarge         TOO_LARGE      more pixels than any film, or than the file can hold
    ├── ManifestError        MANIFEST       rows of a manifest (file, line, column), all at once
    ├── RecipeError          RECIPE         a recipe that does not say what it must
    ├── CheckpointError      CHECKPOINT     weights that do not fit the network or the spec
    ├── ExportError          EXPORT         a graph that does not agree with its network
    └── RepositoryError      REPOSITORY     a model repository that is not whole

Each has a stable `code`, and a sentence that says what to do.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "CheckpointError",
    "Colour",
    "Constant",
    "CxrExportError",
    "ExportError",
    "FilmError",
    "ManifestError",
    "MultiFrame",
    "NoPixels",
    "NotReadable",
    "RecipeError",
    "RepositoryError",
    "TooLarge",
]


class CxrExportError(Exception):
    """Root of the tree: a stable `code`, and a sentence that says what to do."""

    code: ClassVar[str] = "EXPORTER"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class FilmError(CxrExportError):
    """One film cannot be judged; the others are not affected."""

    code = "FILM"
    exit_code = 3


class NotReadable(FilmError):
    """Empty, truncated, damaged, or not an image at all."""

    code = "NOT_READABLE"


class NoPixels(FilmError):
    """A DICOM object that carries no image."""

    code = "NO_PIXELS"


class MultiFrame(FilmError):
    """More than one frame."""

    code = "MULTI_FRAME"


class Colour(FilmError):
    """A colour image; radiographs have one sample a pixel."""

    code = "COLOUR"


class Constant(FilmError):
    """Every pixel has the same value."""

    code = "CONSTANT"


class TooLarge(FilmError):
    """The header claims more pixels than any film has, or than the file can hold."""

    code = "TOO_LARGE"


class ManifestError(CxrExportError):
    """Rows of a manifest are wrong; the message lists all of them with file, line and column."""

    code = "MANIFEST"
    exit_code = 2


class RecipeError(CxrExportError):
    """A training recipe does not say what it must."""

    code = "RECIPE"
    exit_code = 2


class CheckpointError(CxrExportError):
    """Weights do not fit the network, the recipe or the preprocessing spec."""

    code = "CHECKPOINT"


class ExportError(CxrExportError):
    """A graph does not agree with the network it came from."""

    code = "EXPORT"


class RepositoryError(CxrExportError):
    """A model repository is not whole or not what was generated."""

    code = "REPOSITORY"
