"""One HTML page of predictions and nearest films: self-contained, printable, no script.

    write_page("report.html", [PageFilm(prediction, neighbours)], cxr.model)

Everything that is not ours is escaped. The research-use sentence and the server's notice stand with
every film, because every film shows a number. Films may be endless: they are written as they come,
and no more than one is held.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cxrclient.errors import CxrClientError, FilmError, UsageError
from cxrclient.files import cannot_write, private
from cxrclient.pages.frame import MARK, Counts, Page, PageFilm
from cxrclient.pages.neighbours import THUMBNAIL_PX
from cxrclient.pages.pictures import film_picture
from cxrclient.wire import EnsembleInfo, Prediction

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Counts", "PageFilm", "check_target", "page_html", "thumbnail", "write_page"]

_MARK_WITHIN_BYTES = 1024
_AS_ESCAPES = "backslashreplace"  # a film's name may hold bytes that are no text


def thumbnail(prediction: Prediction) -> Image.Image:
    """The picture of a neighbour, as the networks saw it: grey, at most 256 pixels a side.

    Args:
        prediction: of the neighbour's film, made with `maps=True`.

    Raises:
        UsageError: it was made without.
    """
    return film_picture(prediction, THUMBNAIL_PX)


def page_html(
    films: Iterable[PageFilm | FilmError],
    model: EnsembleInfo,
    *,
    title: str = "Chest films",
    note: str | None = None,
    names: bool = True,
    made: datetime | None = None,
) -> str:
    """The page as text; arguments and errors are those of `write_page`."""
    page = Page(model, title, note, names, made)
    articles = [page.article(film) for film in films]
    return "".join((page.before(), *articles, page.after()))


def write_page(
    path: str | Path,
    films: Iterable[PageFilm | FilmError],
    model: EnsembleInfo,
    *,
    title: str = "Chest films",
    note: str | None = None,
    names: bool = True,
    made: datetime | None = None,
) -> Counts:
    """Write the page, beside its place first, so that there is never half of one.

    Where `films` ends in an error or is interrupted, the page has the films that came before, says
    so, and the error goes on.

    Args:
        path: of the page; a new one can be read by its owner alone.
        films: in the order of the page, read as they are written; a FilmError is a film without
            result, and gets its place with code and sentence.
        model: whose predictions they are.
        title: of the page.
        note: a sentence for the reader of the neighbours, such as where they come from.
        names: whether films are called by their file's name; only numbered otherwise, because a
            file's name can be a patient's.
        made: when; now by default.

    Raises:
        UsageError: the place cannot be written to, holds a file that is no page of ours, or a
            film's prediction was made without `maps=True`.
        CxrClientError: the disk is full.
    """
    path = Path(path)
    check_target(path)
    page = Page(model, title, note, names, made)
    try:
        with _beside(path) as (body, whole):
            _write(page, films, body, whole, path)
    except OSError as error:
        raise CxrClientError(cannot_write(path, error)) from error
    return page.counts


def check_target(path: Path) -> None:
    """Make sure, before films are sent, that a page can be written there and destroys no film.

    Raises:
        UsageError: it cannot, or there is a file that is no page of ours.
    """
    try:
        if path.exists():
            with path.open("r+b") as file:
                if MARK.encode() not in file.read(_MARK_WITHIN_BYTES):
                    raise UsageError(f"{path} is no page of cxrclient. Give another name.")
        with _beside(path) as (probe, _):
            probe.touch()
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.") from error


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, Path]]:
    """Two files beside the page's place, gone at the end."""
    stem = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    parts = (stem.with_suffix(".films"), stem.with_suffix(".page"))
    try:
        yield parts
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _write(
    page: Page, films: Iterable[PageFilm | FilmError], body: Path, whole: Path, path: Path
) -> None:
    try:
        with open(
            body, "w", encoding="utf-8", errors=_AS_ESCAPES, newline="", opener=private
        ) as file:
            for film in films:
                file.write(page.article(film))
    except (KeyboardInterrupt, CxrClientError) as error:
        if page.films:
            page.cut_short(error)
            _assemble(page, body, whole, path)
        raise
    _assemble(page, body, whole, path)


def _assemble(page: Page, body_path: Path, whole_path: Path, path: Path) -> None:
    """Head and overview, which know all films, before the films."""
    with open(whole_path, "wb", opener=private) as whole, body_path.open("rb") as body:
        whole.write(page.before().encode("utf-8", _AS_ESCAPES))
        shutil.copyfileobj(body, whole)
        whole.write(page.after().encode("utf-8", _AS_ESCAPES))
    if path.exists():
        shutil.copymode(path, whole_path)
    whole_path.replace(path)
