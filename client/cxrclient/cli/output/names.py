"""What a film's pictures are called: its whole name, in the folders that it was found in."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from cxrclient.films import FILM_SUFFIXES


def without_suffix(film: str) -> str:
    """The file's name without an ending that says what it is; a UID is kept whole."""
    path = Path(film)
    return path.stem if path.suffix.lower() in FILM_SUFFIXES else path.name


def below_given(film: str, given: Sequence[str]) -> Path:
    """A film's path below the folder that it was found in; the name alone where it was named.

    Args:
        film: as a FilmSearch gives it.
        given: the arguments of that search; of a glob the folder before it counts.
    """
    path = Path(film)
    for argument in given:
        top = Path(argument)
        if not os.path.lexists(argument) and glob.has_magic(argument):
            literal = next(n for n, part in enumerate(top.parts) if glob.has_magic(part))
            top = Path(*top.parts[:literal])
        if path != top and path.is_relative_to(top):
            below = path.relative_to(top)
            if ".." not in below.parts:
                return below
    return Path(path.name)


def common_folder(films: Sequence[str]) -> str:
    """The folder that all films lie in, with its last slash; nothing where that says little."""
    folders = [os.path.dirname(film) for film in films]  # noqa: PTH120  # `a` and `./a` differ
    if len(films) < 2 or not all(folders):
        return ""
    try:
        folder = os.path.commonpath(folders)
    except ValueError:  # absolute and relative ones
        return ""
    if folder in ("", os.sep) or not all(film.startswith(folder + os.sep) for film in films):
        return ""
    return folder + os.sep
