"""Folders of pictures, one for each film, named after it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cxrclient.errors import CxrClientError, FilmError, UsageError
from cxrclient.files import cannot_write, only_one, private_folder, write_whole
from cxrclient.films import is_own_picture
from cxrclient.runs import Ledger
from cxrclient.wire import EnsembleInfo, Prediction


class PictureFolder:
    """A folder that pictures are written to, with names that never collide or destroy.

    A picture has its film's stem; where that is taken, by another film of this run or by a file
    that is no picture of ours, a number is added. So `--masks` into a folder of films is safe. One
    run at a time holds the folder: which names are taken is known to that run alone. A new folder
    and what is written are for their owner alone, for a picture of a film is the film.

    Args:
        folder: made if need be.

    Raises:
        UsageError: the folder cannot be made or written to; before any film is sent.
        CxrClientError: another run writes to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken = Ledger()
        self._numbers = Ledger()
        try:
            private_folder(folder)
            with tempfile.TemporaryFile(dir=folder):
                pass
            self._held = ExitStack()
            self._held.enter_context(only_one(folder, _busy(folder)))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UsageError(f"Cannot write pictures to {folder}: {reason}.") from error

    def reserve(self, film: str | None) -> Path:
        """The path of a film's picture.

        Called for every film, also one without prediction, so that names do not depend on fate.
        """
        stem = _stem(film)
        # Where every film has the same name, in a folder of its own, the search does not begin
        # at 1 each time.
        number = int(self._numbers[stem.casefold()] or 0)
        while True:
            number += 1
            target = self.folder / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png")
            if self._taken[target.name.casefold()] is None and not _is_anothers(target):
                break
        self._numbers[stem.casefold()] = str(number)
        self._taken[target.name.casefold()] = ""
        return target

    def holds(self, picture: object) -> bool:
        """Whether a picture that an earlier run named is here; its name is taken then."""
        if not isinstance(picture, str) or Path(picture).parent.resolve() != self.folder.resolve():
            return False
        target = self.folder / Path(picture).name
        if not is_own_picture(target):
            return False
        self._taken[target.name.casefold()] = ""
        return True

    def write(self, target: Path, png: bytes) -> None:
        """Write a picture, marked as ours: the whole of it or nothing.

        Raises:
            CxrClientError: the disk is full, or the folder has gone.
        """
        try:
            write_whole(target, png, secret=True, sync=False)
        except OSError as error:
            raise CxrClientError(cannot_write(target, error)) from error

    def close(self) -> None:
        """Let others have the folder."""
        self._held.close()


class Pictures:
    """The masks and overlays of a run.

    Args:
        masks: folder for lung masks; None for none.
        overlays: folder for overlays; None for none.

    Raises:
        UsageError: a folder cannot be written to, or both are the same.
        CxrClientError: another run writes to one of them.

    Attributes:
        renamed: how many pictures were written that do not have their film's own stem.
    """

    def __init__(self, masks: Path | None, overlays: Path | None) -> None:
        if masks and overlays and masks.resolve() == overlays.resolve():
            raise UsageError("Masks and overlays have the same names; give them two folders.")
        self._masks = PictureFolder(masks) if masks else None
        self._overlays = PictureFolder(overlays) if overlays else None
        self.renamed = 0

    def close(self) -> None:
        """Let others have the folders."""
        for folder in (self._masks, self._overlays):
            if folder:
                folder.close()

    @property
    def wanted(self) -> bool:
        """Whether predictions need their maps."""
        return bool(self._masks or self._overlays)

    def are_there(self, line: Mapping[str, Any]) -> bool:
        """Whether an earlier run has written all that is wanted of a film.

        Args:
            line: its result, with the paths of its `mask` and `overlay`.
        """
        if line["status"] != "ok":
            return True
        folders = {"mask": self._masks, "overlay": self._overlays}
        return all(folder.holds(line.get(kind)) for kind, folder in folders.items() if folder)

    def add(self, result: Prediction | FilmError, ensemble: EnsembleInfo) -> dict[str, str]:
        """Write what is wanted of a film; of one without prediction, nothing.

        Returns:
            `mask` and `overlay` → path, of those written.

        Raises:
            CxrClientError: a picture cannot be written.
        """
        from cxrclient.pages import caption, mask_png, overlay, png_bytes

        written: dict[str, str] = {}
        if self._masks:
            target = self._masks.reserve(result.path)
            if isinstance(result, Prediction):
                self._masks.write(target, mask_png(result))
                written["mask"] = str(target)
        if self._overlays:
            target = self._overlays.reserve(result.path)
            if isinstance(result, Prediction):
                picture = overlay(result, caption(result, ensemble))
                self._overlays.write(target, png_bytes(picture))
                written["overlay"] = str(target)
        self.renamed += sum(Path(path).stem != _stem(result.path) for path in written.values())
        return written


def _busy(folder: Path) -> CxrClientError:
    return CxrClientError(
        f"{folder} is being written to by another run. Wait for it, or give another folder."
    )


def _stem(film: str | None) -> str:
    return Path(film or "film").stem


def _is_anothers(path: Path) -> bool:
    return os.path.lexists(path) and not is_own_picture(path)
