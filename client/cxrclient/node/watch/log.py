"""The node's log: one line a record, and of a library never its words, which may quote a header.

Only what our own code says passes. Of a library's record there remain the level, the logger, and
the line of code that logged: it says what happened, without the values. Of an exception there
remain its type and place; our own errors keep their sentence, which holds no patient data.

Records are reduced as they are made, so no other handler (pymilvus brings its own) shows more.
"""

from __future__ import annotations

import linecache
import logging
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from cxrclient.errors import CxrClientError

_log = logging.getLogger(__name__)
_OURS = "cxrclient"
_PACKAGE = str(Path(__file__).parents[2]) + os.sep
_ROOTS = ("site-packages", "dist-packages")
_MOST_CAUSES = 4
_MOST_LINES = 8  # of a statement that logs


def set_up(level: str = "info") -> None:
    """Let this process log to stderr without patient data, at any level; harmless twice.

    Libraries are heard from `warning` on (pynetdicom is not), and at `debug` all of them.

    Args:
        level: `debug`, `info`, `warning` or `error`.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    logging.setLogRecordFactory(_record)
    logging.raiseExceptions = False  # else what cannot be formatted is printed, values and all
    heard = number if number <= logging.DEBUG else max(number, logging.WARNING)
    logging.basicConfig(handlers=[handler], level=heard, force=True)
    logging.getLogger(_OURS).setLevel(number)
    # It calls each try of a peer that is away an error, twice; we say once that it is away.
    logging.getLogger("pynetdicom").setLevel(heard if heard <= logging.DEBUG else logging.CRITICAL)
    warnings.showwarning = _on_warning
    sys.excepthook = _on_end
    sys.unraisablehook = _on_unraisable
    threading.excepthook = _on_thread_end
    if (pynetdicom := sys.modules.get("pynetdicom._config")) is not None:
        # Nobody would see what these make of every message, identifiers among it.
        pynetdicom.LOG_HANDLER_LEVEL = "none"  # type: ignore[attr-defined]
        pynetdicom.LOG_REQUEST_IDENTIFIERS = False  # type: ignore[attr-defined]
        pynetdicom.LOG_RESPONSE_IDENTIFIERS = False  # type: ignore[attr-defined]


def told(error: BaseException) -> str:
    """What went wrong: types and places, and words only of ours or the operating system's."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < _MOST_CAUSES:
        parts.append(_type_and_place(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return ", after ".join(parts)


def _type_and_place(error: BaseException) -> str:
    words = type(error).__name__
    if isinstance(error, CxrClientError):
        words = str(error)
    elif isinstance(error, OSError) and error.errno and error.strerror == os.strerror(error.errno):
        words += f" ({error.strerror})"  # a library's own sentence is none of the system's
    frames = traceback.StackSummary.extract(
        traceback.walk_tb(error.__traceback__), lookup_lines=False
    )
    ours = [frame for frame in frames if frame.filename.startswith(_PACKAGE)]
    shown = {id(frame): frame for frame in (*frames[-1:], *ours[-1:])}.values()
    places = [f"{_place(frame.filename, frame.lineno)} in {frame.name}" for frame in shown]
    return words + (f" at {', from '.join(places)}" if places else "")


def _place(path: str, line: int | None) -> str:
    """`package/module.py:12`, without the folders of this machine."""
    if path.startswith(_PACKAGE):
        return f"{_OURS}/{path.removeprefix(_PACKAGE)}:{line}"
    parts = Path(path).parts
    known = [at for at, part in enumerate(parts) if part in _ROOTS]
    return f"{'/'.join(parts[known[-1] + 1 :] if known else parts[-1:])}:{line}"


def _statement(path: str, first: int) -> str:
    """The code of a call that begins in a line."""
    text = ""
    for number in range(first, first + _MOST_LINES):
        text = f"{text} {linecache.getline(path, number).strip()}".strip()
        if text.count("(") <= text.count(")"):
            break
    return text


def _record(*values: Any, **more: Any) -> logging.LogRecord:
    """A record as logging makes it, reduced at once."""
    record = logging.LogRecord(*values, **more)
    # The place as well as the name: aiohttp logs by any logger that it is given, and a library may
    # name its caller as the place.
    ours = record.name.split(".")[0] in (_OURS, "__main__") and record.pathname.startswith(_PACKAGE)
    message = _our_message(record) if ours else _of_library(record)
    if record.exc_info and record.exc_info[1] is not None:
        message += f" {told(record.exc_info[1])}"
    record.msg, record.args, record.exc_info, record.stack_info = message, (), None, None
    return record


def _our_message(record: logging.LogRecord) -> str:
    args = record.args
    if isinstance(args, tuple):
        args = tuple(told(each) if isinstance(each, BaseException) else each for each in args)
    elif isinstance(args, Mapping):
        args = dict(args)
    try:
        return str(record.msg) % args if args else str(record.msg)
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


def _of_library(record: logging.LogRecord) -> str:
    place = f"{_place(record.pathname, record.lineno)} in {record.funcName}:"
    return f"{place} {_statement(record.pathname, record.lineno)}"


class _Line(logging.Formatter):
    """`2026-11-30T16:30:18.123Z WARNING cxrclient.node.run: words`, whatever the words hold."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if line.isprintable():
            return line
        return "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode() for each in line
        )


def _on_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    place, code = _place(filename, lineno), _statement(filename, lineno)
    _log.warning("%s at %s: %s", category.__name__, place, code)


def _on_end(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    _log.critical("The process ends: %s", error)


def _on_thread_end(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:
        _log.error("A thread ends: %s", args.exc_value)


def _on_unraisable(args: sys.UnraisableHookArgs) -> None:
    if args.exc_value is not None:
        _log.error("Nobody could be told: %s", args.exc_value)
