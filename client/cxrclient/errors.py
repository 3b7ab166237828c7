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
├── NodeError                NODE               `cxrclient node` cannot start, or a check failed
│   ├── SpoolUnavailable     SPOOL_UNAVAILABLE  another node has the spool, or it is not writable
│   ├── PacsUnreachable      PACS_UNREACHABLE   the PACS of `pull` does not answer (retriable)
│   └── PacsRefused          PACS_REFUSED       it answers, and does not let us have its films
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
    "NodeError",
    "NotReadable",
    "PacsRefused",
    "PacsUnreachable",
    "Rejected",
    "ServeFailed",
    "ServerError",
    "ServerUnfit",
    "ServerUnreachable",
    "SpoolUnavailable",
    "TlsFailed",
    "TooLarge",
    "UsageError",
]


class CxrClientError(Exception):
    """Something else failed, or the operating system refused something.

    Root of the tree: each error has a stable `code`, and a sentence that says what to do.

    Attributes:
        code: upper case, the same in every version.
        mend: what to do about any error with this code; the message says it of the one at hand.
        retriable: whether trying again may succeed.
        exit_code: of a command that it ends.
    """

    code: str = "CLIENT"
    mend: ClassVar[str] = (
        "Do what the message says; often a disk is full, or a file is not yours to write."
    )
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
    mend = "Call it again as the message says."
    exit_code = 2


class KeyMismatch(UsageError):
    """Under another patient key, nobody in the archive would be recognised, nor any hashed UID."""

    code = "KEY_MISMATCH"
    mend = "Give the key that the archive was filled with: CXR_PATIENT_KEY_FILE, CXR_PATIENT_KEY."


class ServerError(CxrClientError):
    """The server as a whole cannot serve us."""

    code = "SERVER"
    mend = "Look into the server's log."


class ServerUnreachable(ServerError):
    """Nothing answers at the address."""

    code = "SERVER_UNREACHABLE"
    mend = "Start it with `cxrclient serve`, or name another with `address`."
    retriable = True
    exit_code = 5


class ServerUnfit(ServerError):
    """Something answers, but it does not serve the `cxr` ensemble as we know it."""

    code = "SERVER_UNFIT"
    mend = "Serve a repository of cxr-triton, of this version."


class TlsFailed(ServerError):
    """A server is there, but no line over TLS comes about: its certificate, or one side's lack."""

    code = "TLS_FAILED"
    mend = "Give the authority of its certificate, `tls.ca`, or leave grpcs:// out."


class AccessDenied(ServerError):
    """The server lets in only who has a token, or a certificate, that it knows."""

    code = "ACCESS_DENIED"
    mend = "Give the token or the certificate that the server asks for."


class ServeFailed(ServerError):
    """`cxrclient serve` could not start a server here; the message names cause and mend."""

    code = "SERVE_FAILED"
    mend = "Do what the message says; `cxrclient doctor` finds more."


class ArchiveError(CxrClientError):
    """The Milvus archive refused or failed."""

    code = "ARCHIVE"
    mend = "Run `cxrclient archive verify`; restore a backup where it is broken."


class ArchiveUnavailable(ArchiveError):
    """The archive is locked by another process, not writable, or not reachable."""

    code = "ARCHIVE_UNAVAILABLE"
    mend = "Wait for who uses it, or make it writable; one at a time may have a .db file."
    retriable = True


class ArchiveUnreachable(ArchiveUnavailable):
    """The archive is on a Milvus server, which does not answer or did not do what it was asked."""

    mend = "Start the Milvus server, or mend the archive's address."
    exit_code = 5


class ArchiveMismatch(ArchiveError):
    """The archive holds another model's embeddings: distances to them mean nothing."""

    code = "ARCHIVE_MISMATCH"
    mend = "Move it to the server's model with `cxrclient archive migrate`."


class ArchiveInput(ArchiveError):
    """A filter that makes no sense, a vector or an id that must not be stored (NaN, empty id)."""

    code = "ARCHIVE_INPUT"
    mend = "Mend the filter or the id that the message names."
    exit_code = 2


class NodeError(CxrClientError):
    """The PACS node cannot start, or what it needs is not there."""

    code = "NODE"
    mend = "Do what the message says; `cxrclient node check` finds more."


class SpoolUnavailable(NodeError):
    """The node's spool is another's, or cannot be written to."""

    code = "SPOOL_UNAVAILABLE"
    mend = "Stop the other node, or name a folder on a disk that can be written to."


class PacsUnreachable(NodeError):
    """The PACS that films are to come from does not answer, or cannot now."""

    code = "PACS_UNREACHABLE"
    mend = "Start it, or mend its address; run the same command again, which goes on."
    retriable = True
    exit_code = 5


class PacsRefused(NodeError):
    """The PACS answers, but does not let us have its films: it does not know or trust us."""

    code = "PACS_REFUSED"
    mend = "Make our AE title, host and port known to the PACS, or give the user that it asks for."
    exit_code = 5


class MetadataError(CxrClientError):
    """A metadata CSV has a bad row; the message names file, line and column."""

    code = "METADATA"
    mend = "Mend the row of the CSV that the message names."
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
    mend = "Export the film again, as DICOM, PNG or JPEG."


class NoPixels(Rejected):
    """A DICOM object that carries no image."""

    code = "NO_PIXELS"
    mend = "Send the film itself; this object has no picture."


class MultiFrame(Rejected):
    """More than one frame."""

    code = "MULTI_FRAME"
    mend = "Send its frames one at a time."


class Colour(Rejected):
    """A colour image; radiographs have one sample a pixel."""

    code = "COLOUR"
    mend = "Export the film in grey."


class Constant(Rejected):
    """Every pixel has the same value."""

    code = "CONSTANT"
    mend = "Export the film again; this picture is empty."


class TooLarge(Rejected):
    """More pixels or parts than any film has, or more pixels than the file can hold."""

    code = "TOO_LARGE"
    mend = "Export the film again, at its own size."
