"""Folders of pictures, one for each film, named after it and in the folders that it was in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cxrclient.cli.output.names import below_given, without_suffix
from cxrclient.errors import CxrClientError, FilmError, UsageError
from cxrclient.files import cannot_write, only_one, private_folder, write_whole
from cxrclient.films import is_own_picture
from cxrclient.runs import Ledger
from cxrclient.wire import EnsembleInfo, Prediction


class PictureFolder:
    """A folder that pictures are written to, with names that never collide or destroy.

    A picture has its film's name without the ending, and lies in the folders that the film lies in
    below a folder that was given. Where the name is taken, by another film of this run or by a file
    that is no picture of ours, a number is added. So `--masks` into a folder of films is safe. One
    run at a time holds the folder: which names are taken is known to that run alone. A new folder
    and what is written are for their owner alone, for a picture of a film is the film.

    Args:
        folder: made if need be.
        given: folders, films and globs, as a FilmSearch has them.

    Raises:
        UsageError: the folder cannot be made or written to; before any film is sent.
        CxrClientError: another run writes to it.
    """

    def __init__(self, folder: Path, given: Sequence[str] = ()) -> None:
        self.folder = folder
        self._given = given
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
        name = film or "film"
        below = self.folder / below_given(name, self._given).parent / without_suffix(name)
        # Where many films have one name, the search does not begin at 1 each time.
        number = int(self._numbers[self._key(below)] or 0)
        while True:
            number += 1
            target = below.with_name(
                f"{below.name}.png" if number == 1 else f"{below.name}-{number}.png"
            )
            if self._taken[self._key(target)] is None and not _is_anothers(target):
                break
        self._numbers[self._key(below)] = str(number)
        self._taken[self._key(target)] = ""
        return target

    def _key(self, target: Path) -> str:
        """Of a name below the folder; on some systems, small and capital letters are one."""
        return target.relative_to(self.folder).as_posix().casefold()

    def holds(self, picture: object) -> bool:
        """Whether a picture that an earlier run named is here; its name is taken then."""
        if not isinstance(picture, str):
            return False
        written, folder = Path(picture).resolve(), self.folder.resolve()
        if not written.is_relative_to(folder):
            return False
        target = self.folder / written.relative_to(folder)
        if not is_own_picture(target):
            return False
        self._taken[self._key(target)] = ""
        return True

    def write(self, target: Path, png: bytes) -> None:
        """Write a picture, marked as ours: the whole of it or nothing.

        Raises:
            CxrClientError: the disk is full, or the folder has gone.
        """
        try:
            for folder in reversed(target.parents):
                if folder.is_relative_to(self.folder):
                    private_folder(folder)
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
        given: as in PictureFolder.

    Raises:
        UsageError: a folder cannot be written to, or both are the same.
        CxrClientError: another run writes to one of them.

    Attributes:
        renamed: how many pictures were written that do not have their film's own stem.
    """

    def __init__(
        self, masks: Path | None, overlays: Path | None, given: Sequence[str] = ()
    ) -> None:
        if masks and overlays and masks.resolve() == overlays.resolve():
            raise UsageError("Masks and overlays have the same names; give them two folders.")
        self._masks = PictureFolder(masks, given) if masks else None
        self._overlays = PictureFolder(overlays, given) if overlays else None
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
        from cxrclient.pages import caption, film_overlay, mask_png, png_bytes

        written: dict[str, str] = {}
        if self._masks:
            target = self._masks.reserve(result.path)
            if isinstance(result, Prediction):
                self._masks.write(target, mask_png(result))
                written["mask"] = str(target)
        if self._overlays:
            target = self._overlays.reserve(result.path)
            if isinstance(result, Prediction):
                picture = film_overlay(result, text=caption(result, ensemble))
                self._overlays.write(target, png_bytes(picture))
                written["overlay"] = str(target)
        own = f"{without_suffix(result.path or 'film')}.png"
        self.renamed += sum(Path(path).name != own for path in written.values())
        return written


def _busy(folder: Path) -> CxrClientError:
    return CxrClientError(
        f"{folder} is being written to by another run. Wait for it, or give another folder."
    )


def _is_anothers(path: Path) -> bool:
    return os.path.lexists(path) and not is_own_picture(path)
