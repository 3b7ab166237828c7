"""The films of a CD, by its DICOMDIR. Source: DICOM PS3.3 annex F and PS3.10 section 8.6.

Its records name files by their folders. Somebody else wrote them, so a name that leads out of the
CD's folder, by itself or by a link, is not opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from cxrclient.errors import FilmError, NotReadable
from cxrclient.faults import is_ours
from cxrclient.files import FileTooLarge, read_regular
from cxrclient.films.search.passed_over import NO_IMAGE, PassedOver
from cxrclient.films.search.zips import is_leading_out

_MOST_BYTES = 64 << 20
_RECORDS = 0x00041220
_FILE_ID = 0x00041500
_RECORD_TYPE = 0x00041430
_FOLDERS = frozenset({"PATIENT", "STUDY", "SERIES"})


def films_of_dicomdir(path: str, passed_over: PassedOver) -> Iterator[str | FilmError]:
    """The films that a DICOMDIR names, in its order; those that cannot be had as their errors.

    Args:
        path: of the DICOMDIR.
        passed_over: counts records of what is no image.
    """
    top = Path(path).parent
    try:
        data = read_regular(path, _MOST_BYTES)
    except FileTooLarge:
        yield _error("The DICOMDIR has more than 64 MiB. Name the CD's folder instead.", path)
        return
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"The DICOMDIR cannot be read: {reason}. Its films are not in these results."
        yield FilmError("FILE_UNREADABLE", message, status="failed", path=path)
        return
    try:
        records = list(_records(data))
    except Exception as error:  # pydicom raises whatever damage makes it stumble over
        if is_ours(error):
            raise
        yield _error("The DICOMDIR is damaged. Name the CD's folder instead.", path)
        return
    for kind, parts in records:
        if not parts:  # patients, studies and series have no file
            continue
        if kind != "IMAGE":
            passed_over.add(str(Path(top, *parts)), NO_IMAGE)
            continue
        film = _film(top, parts)
        if film is None:
            name = repr("/".join(parts)[-100:])
            yield _error(f"The DICOMDIR names {name}, which is not on the CD. Not opened.", path)
        else:
            yield film


def _records(data: bytes) -> Iterator[tuple[str, list[str]]]:
    """Kind and file of each record."""
    from cxrclient.films.pydicom_parts import read_partial

    header = read_partial(BytesIO(data), None, specific_tags=[_RECORDS])
    if _RECORDS not in header:
        raise EOFError
    for record in header[_RECORDS].value:
        kind = str(_value(record, _RECORD_TYPE) or "").strip().upper()
        named = _value(record, _FILE_ID)
        names = [named] if isinstance(named, str) else list(named or ())
        yield kind, [] if kind in _FOLDERS else [str(name).strip() for name in names]


def _value(record: Any, tag: int) -> Any:
    return record[tag].value if tag in record else None


def _film(top: Path, parts: list[str]) -> str | None:
    """The path of a record's file; None where it is, or leads, outside."""
    name = "/".join(parts)
    if is_leading_out(name) or not all(parts):
        return None
    # Systems show the capital letters of a CD in small ones too.
    path = next((p for p in (top / name, top / name.lower()) if p.exists()), top / name)
    try:
        inside = path.resolve().is_relative_to(top.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return None
    return str(path) if inside else None


def _error(message: str, path: str) -> FilmError:
    error = NotReadable(message)
    error.path = path
    return error
