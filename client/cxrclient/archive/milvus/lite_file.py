"""An archive's file, read and rewritten while Milvus Lite is off it: what it does not do itself.

Milvus Lite keeps the bytes of a deleted film until its file is rewritten. And one flipped bit in
the frame of a row ends it, or keeps the whole archive shut (found by flipping bits in 2.5.1). Such
rows are found here without it: they are written otherwise than all others of their collection.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrclient.archive.milvus import lite
from cxrclient.errors import ArchiveUnavailable

_Frame = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class BrokenRow:
    """A film that Milvus Lite cannot read.

    Attributes:
        collection: that has it.
        number: of its row there.
        id: of the film, if it can be told.
    """

    collection: str
    number: int
    id: str


def erase_deleted(path: Path) -> None:
    """Rewrite the file without the bytes of what was deleted from it.

    SQLite writes the new content and the old one beside, so the disk needs room for the file twice
    more, and an interruption leaves either the old file or the new one.

    Raises:
        ArchiveUnavailable: the disk is full, or the file is damaged.
    """
    with lite.paused(path), _opened(path) as database:
        database.execute("VACUUM")


def fault_of_file(path: Path) -> str | None:
    """What SQLite finds wrong with the file as a whole; None where nothing is."""
    with lite.paused(path), _opened(path) as database:
        try:
            (first, *_) = database.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            return str(error)
    return None if first == b"ok" else first.decode(errors="replace")


def broken_rows(path: Path) -> list[BrokenRow]:
    """Rows of films that Milvus Lite cannot read; a file of a layout of its own has none."""
    with lite.paused(path), _opened(path) as database:
        names = [
            name.decode()
            for (name,) in database.execute("SELECT DISTINCT collection_name FROM collection_meta")
        ]
        return [row for name in names for row in _broken(database, name)]


def take_out(path: Path, rows: Iterable[BrokenRow]) -> None:
    """Delete rows, with all their bytes."""
    with lite.paused(path), _opened(path) as database:
        with database:
            for row in rows:
                table = _quoted(row.collection)
                database.execute(f"DELETE FROM {table} WHERE id = ?", [row.number])  # noqa: S608 - quoted
        database.execute("VACUUM")


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path)) as database:
            database.text_factory = bytes  # Milvus Lite stores binary schemas in a text column
            yield database
    except sqlite3.Error as error:
        raise ArchiveUnavailable(
            f"{path} cannot be rewritten ({error}). Make room on the disk, or bring the archive "
            "back from a backup."
        ) from error


def _broken(database: sqlite3.Connection, collection: str) -> Iterator[BrokenRow]:
    """Rows whose frame is not that of most."""
    query = f"SELECT id, milvus_id, data FROM {_quoted(collection)}"  # noqa: S608 - quoted
    frames = Counter(_frame(data, key) for _, key, data in database.execute(query))
    if not frames:
        return
    usual, _ = frames.most_common(1)[0]
    if usual is None or not any(name == "embedding" for name, *_ in usual):
        return  # of no films, or written by a Milvus Lite that we do not know
    for number, key, data in database.execute(query):
        if _frame(data, key) != usual:
            yield BrokenRow(collection, number, _as_bytes(key).decode(errors="replace"))


def _frame(data: bytes, key: bytes | int) -> _Frame | None:
    """All that is the same in every row: names, numbers and kinds of its fields; None if no row.

    Of the id, that it is the one that the row is found by.
    """
    from google.protobuf.message import DecodeError
    from pymilvus.grpc_gen.schema_pb2 import StructArrayField

    try:
        fields = StructArrayField.FromString(data).fields
    except DecodeError:
        return None
    return tuple(_kind(field, key) for field in fields)


def _kind(field: Any, key: bytes | int) -> tuple[Any, ...]:
    about = (field.field_name, field.field_id, field.type, field.is_dynamic, len(field.valid_data))
    values = getattr(field, field.WhichOneof("field") or "", None)
    kind = values.WhichOneof("data") if values is not None else None
    if kind is None:
        return about
    within = getattr(values, kind)
    stored: Sequence[Any] = getattr(within, "data", within)
    belongs = field.field_name != "id" or [str(value).encode() for value in stored] == [
        _as_bytes(key)
    ]
    return (*about, kind, len(stored), belongs)


def _as_bytes(key: bytes | int) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
