"""A film file → the bytes that the server needs, and what stays here.

The payload is built from a list of what may travel, never by deleting what may not: an attribute
that nobody thought of stays at home. No pixel is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from cxrclient.errors import FilmError, NotReadable, TooLarge, UsageError
from cxrclient.faults import internal_error
from cxrclient.files import FileTooLarge, NoRegularFile, read_regular, sha256_of
from cxrclient.films.codestreams.jpeg import clean_jpeg
from cxrclient.films.codestreams.metadata import cut_off
from cxrclient.films.codestreams.png import clean_png
from cxrclient.films.kinds import HEAD_BYTES, file_kind
from cxrclient.films.limits import MAX_FILE_BYTES

Buffer = bytes | bytearray | memoryview
Part = bytes | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One film: what is sent of it, and what stays here.

    All that identifies is left out of the repr, so that no log or traceback shows it.

    Attributes:
        payload: encoded film with pixels and what shows them rightly; all that is ever sent. Empty
            where it was sent and let go: in `Prediction.film` and `FilmError.film`.
        film_id: the SOP Instance UID, or the sha256 (hex) of the file where it has none.
        path: where it came from; None for bytes.
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
    path: str | None = None
    patient_id: str | None = field(default=None, repr=False)
    patient_issuer: str | None = field(default=None, repr=False)
    study_uid: str | None = field(default=None, repr=False)
    series_uid: str | None = field(default=None, repr=False)
    view: str | None = field(default=None, repr=False)
    sex: str | None = field(default=None, repr=False)
    age: float | None = field(default=None, repr=False)
    days: float | None = field(default=None, repr=False)


Source = str | Path | Buffer | Film


def path_of(source: Source) -> str | None:
    """Where a film comes from; None for bytes."""
    if isinstance(source, Film):
        return source.path
    return str(source) if isinstance(source, str | Path) else None


def read_film(source: str | Path | Buffer) -> Film:
    """Read a film and take out what the server needs.

    Args:
        source: a path, or the bytes of a DICOM, PNG or JPEG file (`bytes`, `bytearray` or
            `memoryview`).

    Raises:
        UsageError: it is neither.
        FilmError: `FILE_UNREADABLE` (failed) when the file cannot be read; `NOT_READABLE`,
            `TOO_LARGE`, `MULTI_FRAME`, `NO_PIXELS` (rejected) when what was read cannot be a film;
            `INTERNAL` (failed) when the fault is ours: no memory, pydicom not installed.
    """
    film, parts = read_parts(source)
    return replace(film, payload=b"".join(parts))


def read_parts(source: Source) -> tuple[Film, list[Part]]:
    """Read a film as `read_film` does, its payload apart and not yet put together.

    Who builds a request from the parts copies the pixels once, not twice. A Film that `read_film`
    gave is not read again.

    Returns:
        The film with an empty payload, and the parts of its payload in order.

    Raises:
        UsageError: as `read_film`.
        FilmError: likewise.
    """
    if isinstance(source, Film) and source.payload:
        return replace(source, payload=b""), [source.payload]
    if not isinstance(source, Buffer | str | Path):  # not quoted: it may be a film
        kind = type(source).__name__
        raise UsageError(f"A film is a path or the bytes of a file, not an object of type {kind}.")
    path = path_of(source)
    try:
        data = _read(source) if isinstance(source, str | Path) else bytes(source)
        return _from_bytes(data, path)
    except FilmError as error:
        error.path = path
        raise
    except Exception as error:
        raise internal_error(error, path) from error


def _read(path: str | Path) -> bytes:
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except FileTooLarge as error:
        raise TooLarge(
            f"The file has more than {MAX_FILE_BYTES >> 20} MiB, more than any film."
        ) from error
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
