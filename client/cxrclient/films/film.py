"""A film file → the bytes that the server needs, and what stays here.

The payload is built from a list of what may travel, never by deleting what may not: an attribute
that nobody thought of stays at home. No pixel is decoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from cxrclient.errors import FilmError, UsageError
from cxrclient.faults import internal_error
from cxrclient.files import FileTooLarge, NoRegularFile, read_regular, sha256_of
from cxrclient.films.codestream import PNG_SIGNATURE, clean_jpeg, clean_png

__all__ = ["Buffer", "Film", "Part", "file_kind", "read_film", "read_parts"]

Buffer = bytes | bytearray | memoryview
Part = bytes | memoryview

# The most that a film may weigh. The largest single-frame films are near 100 MB, and a gRPC
# message ends at 2 GiB; what is beyond is not a film, and would only fill both memories.
MAX_FILE_BYTES = 512 * 2**20
HEAD_BYTES = 132

_DICOM_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR "
    b"US UT UV".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One film: what is sent of it, and what stays here.

    All that identifies is left out of the repr, so that no log or traceback shows it.

    Attributes:
        payload: encoded film with pixels and what shows them rightly; all that is ever sent.
        film_id: the SOP Instance UID, or the sha256 (hex) of the file where it has none.
        path: where it came from; None for bytes.
        patient_id: (0010,0020). This and all below: None where the file does not say.
        patient_issuer: (0010,0021), who gave that number.
        study_uid: (0020,000D).
        view: ViewPosition in DICOM's own words (`PA`, `AP`, …).
        sex: `M`, `F` or `O`.
        age: in years.
    """

    payload: bytes = field(repr=False)
    film_id: str
    path: str | None = None
    patient_id: str | None = field(default=None, repr=False)
    patient_issuer: str | None = field(default=None, repr=False)
    study_uid: str | None = field(default=None, repr=False)
    view: str | None = field(default=None, repr=False)
    sex: str | None = field(default=None, repr=False)
    age: float | None = field(default=None, repr=False)


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


def read_parts(source: str | Path | Buffer) -> tuple[Film, list[Part]]:
    """Read a film as `read_film` does, its payload apart and not yet put together.

    Who builds a request from the parts copies the pixels once, not twice.

    Returns:
        The film with an empty payload, and the parts of its payload in order.

    Raises:
        UsageError: as `read_film`.
        FilmError: likewise.
    """
    if not isinstance(source, Buffer | str | Path):  # not quoted: it may be a film
        kind = type(source).__name__
        raise UsageError(f"A film is a path or the bytes of a file, not an object of type {kind}.")
    path = str(source) if isinstance(source, str | Path) else None
    try:
        data = _read(Path(source)) if isinstance(source, str | Path) else bytes(source)
        return _from_bytes(data, path)
    except FilmError as error:
        error.path = path
        raise
    except Exception as error:
        raise internal_error(error, path) from error


def file_kind(head: bytes) -> Literal["dicom", "png", "jpeg"] | None:
    """What the first 132 bytes say that a file is; None where it is no film."""
    if head.startswith(PNG_SIGNATURE):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[128:132] == b"DICM" or _starts_like_a_data_set(head):
        return "dicom"
    return None


def _starts_like_a_data_set(head: bytes) -> bool:
    """DICOM without preamble (old archives): the first element is of group 0002 or 0008."""
    if len(head) < 12:
        return False
    if head[:2] == b"\x00\x08":  # explicit big endian
        return head[2:3] in (b"\0", b"\1") and head[4:6] in _DICOM_VRS
    group, element = struct.unpack_from("<HH", head)
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    implicit_length = int.from_bytes(head[4:8], "little")
    return head[4:6] in _DICOM_VRS or (group == 0x0008 and implicit_length <= 1024)


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except FileTooLarge as error:
        raise FilmError(
            "TOO_LARGE",
            f"The file has more than {MAX_FILE_BYTES >> 20} MiB, more than any film.",
            status="rejected",
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
        return Film(payload=b"", film_id=uid or sha256_of(data), path=path, **facts), parts
    if kind is not None:
        clean = clean_png if kind == "png" else clean_jpeg
        return Film(payload=b"", film_id=sha256_of(data), path=path), [clean(data)]
    what = "The file is empty" if not data else "The file is neither DICOM, PNG nor JPEG"
    raise FilmError(
        "NOT_READABLE", f"{what}. Export the film as DICOM, PNG or JPEG.", status="rejected"
    )
