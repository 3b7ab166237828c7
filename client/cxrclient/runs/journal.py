"""Results that are their own journal: after a kill -9, a run goes on where it was.

Each line of the file is one film's result, with `journal`: what the result holds for. There is no
second file that could disagree with it: a film whose whole line is there is done, any other is not.
A line that an ended process left half written is cut off, and its film predicted again
(docs/adr/0015).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cxrclient.errors import CxrClientError, UsageError
from cxrclient.files import OpenedPath, cannot_write, open_alone, parse_json, take_place
from cxrclient.runs.ledger import Ledger

FSYNC_EVERY_S = 5.0
"""What a power failure may cost. A killed process costs no line: each is the kernel's at once."""

_JOURNAL = "journal"
_DONE = ("ok", "rejected")
_KEYS = ("size", "modified_ns", "model", "gate")


@dataclass(frozen=True)
class FileIdentity:
    """By what a changed file is told from the one that was predicted."""

    size: int
    modified_ns: int


@dataclass(frozen=True)
class Conditions:
    """What a film's result depends on, besides its file.

    Attributes:
        model: digest of the ensemble.
        gate: whether films that admission rejects get no prediction.
    """

    model: str
    gate: bool


def file_identity(path: str | Path) -> FileIdentity | None:
    """The file's identity as it is now; None where it cannot be asked.

    Of a file that is open already, it is of what will be read, whatever has its name by now. A film
    in a zip has its zip's.
    """
    about = path.about() if isinstance(path, OpenedPath) else None
    places = () if about else (Path(path), *Path(path).parents)
    for place in places:
        try:
            about = place.stat()
            break
        except NotADirectoryError:  # a path that goes on into a zip
            continue
        except (OSError, ValueError):
            return None
    return FileIdentity(about.st_size, about.st_mtime_ns) if about else None


def open_results(path: Path, *, replace: bool = True) -> IO[bytes]:
    """The file of a run's results, for reading and appending, held against every other run.

    Args:
        path: of the file; a new one can be read by its owner alone.
        replace: whether what is in it goes; False refuses to have any. Asked once it is held: a
            run that ended while this one began has left its results.

    Raises:
        UsageError: it has results and `replace` is False.
        CxrClientError: another run writes to it, or it cannot be written.
    """
    try:
        file = open_alone(path, _busy(path))
        if path.is_file():
            if not replace and os.fstat(file.fileno()).st_size:
                file.close()
                raise UsageError(
                    f"{path} has the results of a run that ended meanwhile. Name another file, or "
                    "replace them with --overwrite."
                )
            file.truncate(0)
    except OSError as error:
        raise _unwritable(path, error) from error
    return file


class JournaledResults:
    """A file of results that is written to, one line a film.

    Args:
        path: of the file.
        conditions: of this run.
        resume: keep what is there and still holds; else begin anew.
        replace: when beginning anew, whether what is there goes; False refuses to have any.
        needs: what else a line needs to hold, such as its pictures: why it does not → whether it
            does.

    Attributes:
        kept: fates of the films that were kept: their statuses, and the codes of those rejected.
        again: why films are predicted again → how many.

    Raises:
        UsageError: the file to resume is none of ours; nothing was changed.
        CxrClientError: it cannot be written, or another run writes to it.
    """

    def __init__(
        self,
        path: Path,
        conditions: Conditions,
        *,
        resume: bool = False,
        replace: bool = True,
        needs: Mapping[str, Callable[[Mapping[str, Any]], bool]] | None = None,
    ) -> None:
        self.kept: Counter[str] = Counter()
        self.again: Counter[str] = Counter()
        self._path = path.resolve() if path.is_file() else path  # a link stays one
        self._conditions = conditions
        self._needs = needs or {}
        self._done = Ledger()
        self._synced = time.monotonic()
        if not resume:
            self._file = open_results(self._path, replace=replace)
            return
        try:
            self._file = open_alone(self._path, _busy(self._path))
            self._file = self._with_what_holds(self._file)
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def take(self, film: str) -> bool:
        """Whether a line of this film was kept; a film that is named twice has two."""
        key = str(Path(film).absolute())
        lines = int(self._done[key] or 0)
        if lines:
            self._done[key] = str(lines - 1)
        return lines > 0

    def add(
        self, record: Mapping[str, Any], identity: FileIdentity | None, model: str | None = None
    ) -> None:
        """Write one result.

        Args:
            record: the result as plain JSON values.
            identity: of the file, from before it was read.
            model: digest of the model that it is of, where the server changed it during the run.

        Raises:
            CxrClientError: the disk is full, or the file has gone.
        """
        about = {
            "size": identity.size if identity else None,
            "modified_ns": identity.modified_ns if identity else None,
            "model": model or self._conditions.model,
            "gate": self._conditions.gate,
        }
        line = json.dumps({**record, _JOURNAL: about}).encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
            if time.monotonic() - self._synced > FSYNC_EVERY_S:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def close(self) -> None:
        """Put all on the disk, and let others have the file. What `add` could not write is lost."""
        # Each line was flushed, and a pipe or a terminal has no disk.
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        with contextlib.suppress(OSError):
            self._file.close()
        self._done.close()

    def _with_what_holds(self, old: IO[bytes]) -> IO[bytes]:
        """The file without what is torn, has failed or does not hold any more."""
        beside = self._path.with_name(self._path.name + ".part")
        # Locked too, so that the file is never without a lock, under either name.
        new = open_alone(beside, _busy(self._path))
        try:
            new.truncate(0)
            if self._copy_what_holds(old, new):
                new.close()
                beside.unlink()
                return old
            new.flush()
            shutil.copymode(self._path, beside)
            take_place(beside, self._path)
        except BaseException:
            new.close()
            beside.unlink(missing_ok=True)
            raise
        old.close()
        return new

    def _copy_what_holds(self, old: IO[bytes], new: IO[bytes]) -> bool:
        """Returns whether that was all."""
        whole = True
        old.seek(0)
        for number, raw in enumerate(old, 1):
            if not raw.endswith(b"\n"):
                self.again["torn"] += 1
                whole = False
                break
            line = self._read(raw, number)
            reason = self._why_again(line)
            if reason:
                self.again[reason] += 1
                whole = False
                continue
            new.write(raw)
            key = str(Path(line["path"]).absolute())
            self._done[key] = str(int(self._done[key] or 0) + 1)
            self.kept[line["status"]] += 1
            if line["status"] != "ok":
                self.kept[line["code"]] += 1
        return whole

    def _read(self, raw: bytes, number: int) -> dict[str, Any]:
        try:
            line: dict[str, Any] = parse_json(raw)
            _ = line[_JOURNAL]["model"], line["path"], line["status"]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self._path}:{number} was not written by `cxrclient predict --output`, so there "
                "is nothing to resume. Name the file of the run that was interrupted, or leave "
                "--resume out to begin anew."
            ) from error
        lacking = [key for key in _KEYS if key not in line[_JOURNAL]]
        if line["status"] == "rejected" and not isinstance(line.get("code"), str):
            lacking.append("code")
        if lacking or not isinstance(line["path"], str):
            raise UsageError(
                f"{self._path}:{number} lacks {', '.join(lacking) or 'a path'}, which says whether "
                "its result still holds: it is of an older version, or was changed. The file is as "
                "it was; write the results to another one."
            )
        return line

    def _why_again(self, line: Mapping[str, Any]) -> str | None:
        about = line[_JOURNAL]
        if line["status"] not in _DONE:
            return "failed"
        if about["model"] != self._conditions.model:
            return "of another model"
        if about["gate"] != self._conditions.gate:
            return "with the other gate"
        now = file_identity(line["path"])
        # What is not there any more cannot be predicted again either: its result stays.
        if now and (now.size, now.modified_ns) != (about["size"], about["modified_ns"]):
            return "changed"
        return next((why for why, holds in self._needs.items() if not holds(line)), None)


def _busy(path: Path) -> CxrClientError:
    return CxrClientError(
        f"{path} is being written by another run. Wait for it, or give another file."
    )


def _unwritable(path: Path, error: OSError) -> CxrClientError:
    return CxrClientError(cannot_write(path, error))
