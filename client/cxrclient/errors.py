"""Everything that cxrclient raises, and how it maps to an exit code.

CxrClientError
├── UsageError               USAGE              the call itself is wrong
│   └── KeyMismatch          KEY_MISMATCH       an archive was filled with another patient key
├── ServerError
│   ├── ServerUnreachable    SERVER_UNREACHABLE nothing answers at the address (retriable)
│   ├── ServerUnfit          SERVER_UNFIT       it answers, but it is not our ensemble
│   ├── TlsFailed            TLS_FAILED         its certificate is not trusted, or no TLS there
│   ├── AccessDenied         ACCESS_DENIED      it refuses our token or our certificate
│   └── ServeFailed          SERVE_FAILED       `cxrclient serve` could not start a server
├── ArchiveError
│   ├── ArchiveUnavailable   ARCHIVE_UNAVAILABLE locked, not writable or not reachable (retriable)
│   │   └── ArchiveUnreachable (same code)      a Milvus server that does not answer (retriable)
│   ├── ArchiveMismatch      ARCHIVE_MISMATCH   made with another model
│   └── ArchiveInput         ARCHIVE_INPUT      a filter, vector or id that makes no sense
├── MetadataError            METADATA           a row of a metadata CSV (file, line, column)
└── FilmError                one film's own fault or fate; carries path, status and code
    └── Rejected             the film itself is at fault
        ├── NotReadable      NOT_READABLE       empty, truncated, damaged, or not an image
        ├── NoPixels         NO_PIXELS          a DICOM object without an image
        ├── MultiFrame       MULTI_FRAME        more than one frame
        ├── Colour           COLOUR             a colour image
        ├── Constant         CONSTANT           no contrast at all
        └── TooLarge         TOO_LARGE          more than any film has, or than the file can hold
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

__all__ = [
    "AccessDenied",
    "ArchiveError",
    "ArchiveInput",
    "ArchiveMismatch",
    "ArchiveUnavailable",
    "ArchiveUnreachable",
    "Colour",
    "Constant",
    "CxrClientError",
    "FilmError",
    "KeyMismatch",
    "MetadataError",
    "MultiFrame",
    "NoPixels",
    "NotReadable",
    "Rejected",
    "ServeFailed",
    "ServerError",
    "ServerUnfit",
    "ServerUnreachable",
    "TlsFailed",
    "TooLarge",
    "UsageError",
]


class CxrClientError(Exception):
    """Root of the tree: a stable `code`, and a sentence that says what to do."""

    code: str = "CLIENT"
    retriable: bool = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class UsageError(CxrClientError):
    """The call itself is wrong: no film under a path, a bad address, a bad option."""

    code = "USAGE"
    exit_code = 2


class KeyMismatch(UsageError):
    """Under another patient key, nobody in the archive would be recognised, nor any hashed UID."""

    code = "KEY_MISMATCH"


class ServerError(CxrClientError):
    """The server as a whole cannot serve us."""

    code = "SERVER"


class ServerUnreachable(ServerError):
    """Nothing answers at the address."""

    code = "SERVER_UNREACHABLE"
    retriable = True
    exit_code = 5


class ServerUnfit(ServerError):
    """Something answers, but it does not serve the `cxr` ensemble as we know it."""

    code = "SERVER_UNFIT"


class TlsFailed(ServerError):
    """A server is there, but no line over TLS comes about: its certificate, or one side's lack."""

    code = "TLS_FAILED"


class AccessDenied(ServerError):
    """The server lets in only who has a token, or a certificate, that it knows."""

    code = "ACCESS_DENIED"


class ServeFailed(ServerError):
    """`cxrclient serve` could not start a server here; the message names cause and mend."""

    code = "SERVE_FAILED"


class ArchiveError(CxrClientError):
    """The Milvus archive refused or failed."""

    code = "ARCHIVE"


class ArchiveUnavailable(ArchiveError):
    """The archive is locked by another process, not writable, or not reachable."""

    code = "ARCHIVE_UNAVAILABLE"
    retriable = True


class ArchiveUnreachable(ArchiveUnavailable):
    """The archive is on a Milvus server, which does not answer or did not do what it was asked."""

    exit_code = 5


class ArchiveMismatch(ArchiveError):
    """The archive holds another model's embeddings: distances to them mean nothing."""

    code = "ARCHIVE_MISMATCH"


class ArchiveInput(ArchiveError):
    """A filter that makes no sense, a vector or an id that must not be stored (NaN, empty id)."""

    code = "ARCHIVE_INPUT"
    exit_code = 2


class MetadataError(CxrClientError):
    """A metadata CSV has a bad row; the message names file, line and column."""

    code = "METADATA"
    exit_code = 2


class FilmError(CxrClientError):
    """One film without a prediction.

    Attributes:
        status: `rejected` when the film itself is at fault (sending it again gives the same
            answer), `failed` when reading, sending or computing went wrong.
        code: stable, upper case, as the server or the client gave it.
        path: where the film came from; None where nothing says.
        retriable: whether sending it again may succeed.
        film: the `Film` that was sent, without its payload; None where it could not be read.
    """

    __slots__ = ("film",)  # not in `__dict__`: no pickle and no report of the error has it
    exit_code = 3

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: Literal["rejected", "failed"],
        path: str | None = None,
        retriable: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.path = path
        self.retriable = retriable
        self.film: Any = None

    def record(self) -> dict[str, Any]:
        """Give the film's fate as plain JSON values, as `Prediction.record` does."""
        return {
            "path": self.path,
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "retriable": self.retriable,
        }


class Rejected(FilmError):
    """The film itself is at fault: sending it again gives the same answer."""

    code = "FILM"

    def __init__(self, message: str) -> None:
        super().__init__(self.code, message, status="rejected")


class NotReadable(Rejected):
    """Empty, truncated, damaged, or not an image at all."""

    code = "NOT_READABLE"


class NoPixels(Rejected):
    """A DICOM object that carries no image."""

    code = "NO_PIXELS"


class MultiFrame(Rejected):
    """More than one frame."""

    code = "MULTI_FRAME"


class Colour(Rejected):
    """A colour image; radiographs have one sample a pixel."""

    code = "COLOUR"


class Constant(Rejected):
    """Every pixel has the same value."""

    code = "CONSTANT"


class TooLarge(Rejected):
    """More pixels or parts than any film has, or more pixels than the file can hold."""

    code = "TOO_LARGE"
