"""One HTML page of predictions and nearest films: self-contained, printable, no script.

    write_page("report.html", [PageFilm(prediction, neighbours)], cxr.model)

Everything that is not ours is escaped. The research-use sentence and the server's notice stand with
every film, because every film shows a number. Films may be endless: they are written as they come,
and no more than one is held.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from cxrclient.errors import CxrClientError, FilmError, UsageError
from cxrclient.files import cannot_write, open_regular, replacing
from cxrclient.pages.frame import MARK, Counts, Page, PageFilm
from cxrclient.pages.neighbours import THUMBNAIL_PX
from cxrclient.pages.pictures import film_picture
from cxrclient.wire import EnsembleInfo, Prediction

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Counts", "PageFilm", "check_target", "page_html", "thumbnail", "write_page"]

_MARK_WITHIN_BYTES = 1024


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
    return "".join((*page.before(), *articles, page.after()))


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
        with TemporaryFile(dir=path.parent) as body:
            _write(page, films, body, path)
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
            with open_regular(path) as file:
                if MARK.encode() not in file.read(_MARK_WITHIN_BYTES):
                    raise UsageError(f"{path} is no page of cxrclient. Give another name.")
            path.open("ab").close()
        TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.") from error


def _write(page: Page, films: Iterable[PageFilm | FilmError], body: IO[bytes], path: Path) -> None:
    try:
        for film in films:
            body.write(_encoded(page.article(film)))
    except (KeyboardInterrupt, CxrClientError) as error:
        if page.films:
            page.cut_short(error)
            _assemble(page, body, path)
        raise
    _assemble(page, body, path)


def _assemble(page: Page, body: IO[bytes], path: Path) -> None:
    """Head and overview, which know all films, before the films."""
    body.seek(0)
    with replacing(path, secret=True) as whole:
        for part in page.before():
            whole.write(_encoded(part))
        shutil.copyfileobj(body, whole)
        whole.write(_encoded(page.after()))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # a film's name may hold bytes that are no text
