"""What a search passed over: how many of each kind, and on request which."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath

HIDDEN = "hidden"
DICOMDIR = "DICOMDIR"
OWN_PICTURE = "picture of an earlier run"
LINK = "link to a folder"
SEEN_FOLDER = "folder that was searched already"
NO_FILE = "pipe, socket or device"
INNER_ZIP = "zip within a zip"
NO_IMAGE = "DICOMDIR record without an image"

_NAMED_KINDS = 8
_LONGEST_ENDING = 12


class PassedOver:
    """Counts by kind. A kind is one of the words above, or the ending of a file's name (`.txt`).

    Args:
        keep_paths: whether each path is kept too.

    Attributes:
        kinds: kind → how many, so far.
        paths: each path and its kind, in order; empty unless they are kept.
    """

    def __init__(self, *, keep_paths: bool = False) -> None:
        self.kinds: Counter[str] = Counter()
        self.paths: list[tuple[str, str]] = []
        self._keep_paths = keep_paths

    def add(self, path: str, kind: str | None = None) -> None:
        """Count one.

        Args:
            path: of what was passed over.
            kind: None for a file that is evidently no film: its name's ending is its kind.
        """
        kind = kind or _ending(path)
        self.kinds[kind] += 1
        if self._keep_paths:
            self.paths.append((str(path), kind))

    def __str__(self) -> str:
        """As `3 .txt, 1 hidden`, the most frequent first."""
        common = sorted(self.kinds.items(), key=lambda item: (-item[1], item[0]))
        words = [f"{count} {kind}" for kind, count in common[:_NAMED_KINDS]]
        if len(common) > _NAMED_KINDS:
            words.append(f"{sum(count for _, count in common[_NAMED_KINDS:])} of other kinds")
        return ", ".join(words)


def _ending(path: str) -> str:
    ending = PurePath(path).suffix.lower()
    return ending if 1 < len(ending) <= _LONGEST_ENDING else "without an ending"
