"""A film file → the bytes that the server needs, and what stays here.

The payload is built from a list of what may travel, never by deleting what may not: an attribute
that nobody thought of stays at home. No pixel is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from cxrclient.errors import FilmError, NotReadable, TooLarge, UsageError
from cxrclient.faults import internal_error
from cxrclient.files import FileTooLarge, NoRegularFile, read_regular, sha256_of
from cxrclient.films.codestreams.jpeg import clean_jpeg
from cxrclient.films.codestreams.metadata import cut_off
from cxrclient.films.codestreams.png import clean_png
from cxrclient.films.kinds import HEAD_BYTES, file_kind
from cxrclient.films.limits import MAX_FILE_BYTES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

Buffer = bytes | bytearray | memoryview
Part = bytes | memoryview
_TOO_LARGE = f"The file has more than {MAX_FILE_BYTES >> 20} MiB, more than any film."


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One film: what is sent of it, and what stays here.

    All that identifies is left out of the repr, so that no log or traceback shows it.

    Attributes:
        payload: encoded film with pixels and what shows them rightly; all that is ever sent. Empty
            where it was sent and let go: in `Prediction.film` and `FilmError.film`.
        film_id: the SOP Instance UID, or the sha256 (hex) of the file where it has none.
        file: all of the file, where the reader was asked to keep it: for DICOM results.
        path: where it came from; None where nothing says.
        patient_id: (0010,0020). This and all below: None where the file does not say.
        patient_issuer: (0010,0021), who gave that number.
        study_uid: (0020,000D).
        series_uid: (0020,000E).
        view: ViewPosition in DICOM's own words (`PA`, `AP`, …).
        sex: `M`, `F` or `O`.
        age: in years.
        days: since the patient's baseline study, in a clinical trial: (0012,0052).
    """

    film_id: str
    payload: bytes = field(default=b"", repr=False)
    file: bytes = field(default=b"", repr=False)
    path: str | None = None
    patient_id: str | None = field(default=None, repr=False)
    patient_issuer: str | None = field(default=None, repr=False)
    study_uid: str | None = field(default=None, repr=False)
    series_uid: str | None = field(default=None, repr=False)
    view: str | None = field(default=None, repr=False)
    sex: str | None = field(default=None, repr=False)
    age: float | None = field(default=None, repr=False)
    days: float | None = field(default=None, repr=False)


class OpenFile(Protocol):
    """A file open for reading bytes: of `open(path, "rb")`, of a zip, of an object store."""

    def read(self, size: int, /) -> bytes:
        """Read on from where it is."""


class DataSet(Protocol):
    """A `pydicom.Dataset`."""

    def get_item(self, key: Any, /) -> Any:
        """Give an element as it was read."""


Source: TypeAlias = (
    "str | Path | Buffer | Film | OpenFile | npt.NDArray[np.generic] | Image.Image | DataSet"
)


def path_of(source: Source) -> str | None:
    """Where a film comes from; None where nothing says."""
    if isinstance(source, Film):
        return source.path
    # An open file's name is a number where it has none of its own.
    named = getattr(source, "name", None) or getattr(source, "filename", None)
    path = source if isinstance(source, str | Path) else named
    return str(path) if isinstance(path, str | Path) and str(path) else None


def read_film(source: Source) -> Film:
    """Read a film and take out what the server needs.

    Args:
        source: a path, or the bytes of a DICOM, PNG or JPEG file (`bytes`, `bytearray` or
            `memoryview`), or such a file, open for reading bytes, of which all is read that is
            left; a numpy array [rows, columns], bright where the body is dense; an image of
            Pillow; a `pydicom.Dataset` with its pixels. What is no file becomes one first, and is
            then read as any file: an array and an image as a PNG of their pixels.

    Raises:
        UsageError: it is none of these.
        FilmError: `FILE_UNREADABLE` (failed) when the file cannot be read; `NOT_READABLE`,
            `TOO_LARGE`, `MULTI_FRAME`, `NO_PIXELS` (rejected) when what was read cannot be a film;
            `INTERNAL` (failed) when the fault is ours: no memory, pydicom not installed.
    """
    film, parts = read_parts(source)
    return replace(film, payload=b"".join(parts))


def read_parts(source: Source, *, keep_file: bool = False) -> tuple[Film, list[Part]]:
    """Read a film as `read_film` does, its payload apart and not yet put together.

    Who builds a request from the parts copies the pixels once, not twice. A Film that `read_film`
    gave is not read again.

    Args:
        source: as in `read_film`.
        keep_file: whether `Film.file` has the bytes of the file.

    Returns:
        The film with an empty payload, and the parts of its payload in order.

    Raises:
        UsageError: as `read_film`.
        FilmError: likewise.
    """
    if isinstance(source, Film) and source.payload:
        return replace(source, payload=b""), [source.payload]
    path = path_of(source)
    try:
        data = _bytes_of(source)
        film, parts = _from_bytes(data, path)
        return replace(film, file=data) if keep_file else film, parts
    except FilmError as error:
        error.path = path
        raise
    except UsageError:
        raise
    except Exception as error:
        raise internal_error(error, path) from error


def _bytes_of(source: object) -> bytes:
    if isinstance(source, str | Path):
        return _read(source)
    if isinstance(source, Buffer):
        return bytes(source)
    from cxrclient.films.in_memory import file_of  # numpy need not be loaded for a file

    if (written := file_of(source)) is not None:
        return written
    if callable(getattr(source, "read", None)):
        return _read_open(source)
    raise UsageError(  # not quoted: it may be a film
        "A film is a path, the bytes of a file, an open file, a numpy array, an image of Pillow or "
        f"a pydicom.Dataset, not an object of type {type(source).__name__}."
    )


def _read_open(file: Any) -> bytes:
    """All that is left in an open file; one whose reads are short is asked again."""
    parts, left = [], MAX_FILE_BYTES + 1
    try:
        while left > 0 and (part := file.read(left)):
            if not isinstance(part, bytes):
                raise UsageError('The open file gives text. Open it for bytes: open(path, "rb").')
            parts.append(part)
            left -= len(part)
    except (OSError, ValueError) as error:  # ValueError: it is closed
        reason = getattr(error, "strerror", None) or error
        raise _unreadable(
            f"The open file cannot be read: {reason}. Leave it open until its result is there."
        ) from error
    if not parts:
        raise NotReadable("Nothing is left in the open file. Go to its start: file.seek(0).")
    if left <= 0:
        raise TooLarge(_TOO_LARGE)
    return b"".join(parts)


def _read(path: str | Path) -> bytes:
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except FileTooLarge as error:
        raise TooLarge(_TOO_LARGE) from error
    except FileNotFoundError as error:
        raise _unreadable(f"{path} is not there. Give the path of a film.") from error
    except NoRegularFile as error:
        raise _unreadable(f"{path}: {error.strerror}. Give the path of a film.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _unreadable(f"{path} cannot be read: {reason}.") from error
    except ValueError as error:  # a NUL in the path
        raise _unreadable(f"{str(path)!r} is not a path.") from error


def _unreadable(message: str) -> FilmError:
    return FilmError("FILE_UNREADABLE", message, status="failed")


def _from_bytes(data: bytes, path: str | None) -> tuple[Film, list[Part]]:
    kind = file_kind(data[:HEAD_BYTES])
    if kind == "dicom":
        from cxrclient.films.stripping import dicom_parts  # pydicom takes half a second to import

        parts, facts = dicom_parts(data)
        uid = facts.pop("sop_instance_uid")
        return Film(film_id=uid or sha256_of(data), path=path, **facts), parts
    if kind is not None:
        try:
            clean = clean_png(data) if kind == "png" else clean_jpeg(data)
        except EOFError:
            raise cut_off("PNG file" if kind == "png" else "JPEG image") from None
        return Film(film_id=sha256_of(data), path=path), [clean]
    what = "The file is empty" if not data else "The file is neither DICOM, PNG nor JPEG"
    raise NotReadable(f"{what}. Export the film as DICOM, PNG or JPEG.")
