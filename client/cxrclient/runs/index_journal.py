"""What `cxrclient index` knows of files that it has seen: which film of the archive each is.

The archive is the truth: a film is indexed when the archive has it, whatever the journal says. The
journal only saves reading and predicting a file again to find out which film it is; losing it costs
time and no film (docs/adr/0015). It holds no path and no name: files are kept as keyed hashes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrclient.archive import FilmMetadata
from cxrclient.errors import CxrClientError, FilmError
from cxrclient.files import private, sha256_of, short_hash
from cxrclient.runs.journal import Conditions, FileIdentity

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS film (
    file BLOB PRIMARY KEY, state BLOB NOT NULL, film_id TEXT, code TEXT, message TEXT
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Seen:
    """What the journal says of a file.

    Attributes:
        holds: whether file, metadata, model and gate are as they were.
        film_id: its id in the archive; None where it was rejected.
        rejection: why it was.
    """

    holds: bool
    film_id: str | None
    rejection: tuple[str, str] | None


class IndexJournal:
    """A small database beside the archive; for one process at a time.

    Args:
        path: its file; made if need be.
        conditions: of this run.
        key: the site's key, for the hashes.

    Raises:
        CxrClientError: the file cannot be opened, or is none of ours.
    """

    def __init__(self, path: Path, conditions: Conditions, key: bytes) -> None:
        self._path = path
        self._key = bytes.fromhex(sha256_of(b"index journal\0" + key))
        self._conditions = f"{conditions.model}\0{conditions.gate}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab", opener=private):
                pass  # SQLite gives its files beside it the same mode
            self._database = sqlite3.connect(path, isolation_level=None)
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version not in (0, _FORMAT):
                raise CxrClientError(f"{path} is of a newer version. Move it away, or upgrade.")
            # A batch is one transaction, on the disk before the next one: its films are in the
            # archive by then.
            self._database.execute(_SCHEMA)
            self._database.execute(f"PRAGMA user_version={_FORMAT}")
            path.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Let go of the file; harmless twice."""
        self._database.close()

    def seen(self, film: str, identity: FileIdentity, row: FilmMetadata | None) -> Seen | None:
        """What earlier runs did with a file; None where they have not seen it.

        Args:
            film: its path.
            identity: as it is now.
            row: of the metadata, if there is one.
        """
        try:
            found = self._database.execute(
                "SELECT state, film_id, code, message FROM film WHERE file = ?",
                (self._file(film),),
            ).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        if found is None:
            return None
        state, film_id, code, message = found
        rejection = None if code is None else (code, message)
        return Seen(state == self._state(identity, row), film_id, rejection)

    def stored(self, films: Iterable[tuple[str, FileIdentity, FilmMetadata | None, str]]) -> None:
        """Remember files whose films the archive has: path, identity, metadata, id there."""
        self._write(
            (self._file(film), self._state(identity, row), film_id, None, None)
            for film, identity, row, film_id in films
        )

    def rejected(
        self, film: str, identity: FileIdentity, row: FilmMetadata | None, error: FilmError
    ) -> None:
        """Remember a file that is no film for us."""
        state = self._state(identity, row)
        self._write([(self._file(film), state, None, error.code, error.message)])

    def _write(self, rows: Iterable[tuple[Any, ...]]) -> None:
        try:
            with self._database:
                self._database.execute("BEGIN")
                self._database.executemany("REPLACE INTO film VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _file(self, film: str) -> bytes:
        return self._hashed(str(Path(film).absolute()))

    def _state(self, identity: FileIdentity, row: FilmMetadata | None) -> bytes:
        known = (row.patient_id, row.label, dict(row.columns)) if row else None
        about = [self._conditions, identity.size, identity.modified_ns, known]
        return self._hashed(json.dumps(about, sort_keys=True))

    def _hashed(self, text: str) -> bytes:
        return short_hash(text.encode("utf-8", "surrogateescape"), 16, self._key)

    def _unusable(self, error: Exception) -> CxrClientError:
        return CxrClientError(
            f"The journal {self._path} cannot be used ({error}). Move it away and index again: "
            "films that the archive has stay as they are."
        )


def forget_films(path: Path, ids: Iterable[str]) -> int:
    """Take films out of a journal, with their bytes; how many files became them.

    Args:
        path: of the journal; there may be none.
        ids: of the films in the archive.

    Raises:
        CxrClientError: it cannot be written: a run is using it, or the disk is full.
    """
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA secure_delete = ON")
            database.execute("BEGIN")
            before = database.total_changes
            forget = "DELETE FROM film WHERE film_id = ?"
            database.executemany(forget, ((film_id,) for film_id in ids))
            database.execute("COMMIT")
            forgotten = database.total_changes - before
            database.execute("VACUUM")  # also of what an earlier run wrote over
    except sqlite3.Error as error:
        raise CxrClientError(
            f"The journal {path} cannot be rewritten ({error}). Wait for the run that uses it, or "
            "delete the journal: films that the archive has stay as they are."
        ) from error
    return forgotten


def journal_path(uri: str) -> Path:
    """Where the journal of an archive is: beside its file, or in the user's own state folder."""
    if not uri.startswith(("http://", "https://")):
        path = Path(uri).absolute()
        return path.with_name(path.name + ".journal")
    from platformdirs import user_state_path

    name = sha256_of(uri.rstrip("/"))[:16]
    return user_state_path("cxr-triton") / f"index-{name}.journal"
