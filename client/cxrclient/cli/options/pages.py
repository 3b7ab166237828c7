"""Options of the commands that write a page, said once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cxrclient.archive import SimilarityIndex
    from cxrclient.pages import FilmFolder, NeighbourPictures
    from cxrclient.runs import Spool
    from cxrclient.wire import CxrClient

ArchiveFilms = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="The folder of the archive's films, to name the neighbours' files and show pictures.",
    ),
]
Names = Annotated[
    bool,
    typer.Option(
        "--names/--no-names",
        help="Show file names on the page. They may hold patients' names.",
    ),
]


def film_folder(archive: SimilarityIndex, folder: Path) -> FilmFolder:
    """The folder of the archive's films.

    Raises:
        UsageError: it is no folder, or the archive's ids are hashed and their key is not here.
    """
    from cxrclient.archive import key_of
    from cxrclient.pages import FilmFolder

    return FilmFolder(folder, key_of(archive) if archive.has_hashed_ids() else None)


def neighbour_pictures(
    cxr: CxrClient,
    archive: SimilarityIndex,
    folder: Path | None,
    spool: Spool | None = None,
) -> NeighbourPictures | None:
    """Pictures of the archive's films, where their folder is given, or a run has predicted them.

    Args:
        cxr: the server.
        archive: whose films they are.
        folder: where they lie.
        spool: what the run predicted, all of it.

    Raises:
        UsageError: it is no folder, or the archive's ids are hashed and their key is not here.
    """
    if folder is None and spool is None:
        return None
    from cxrclient.archive import archive_id, key_of
    from cxrclient.pages import NeighbourPictures

    key = key_of(archive) if archive.has_hashed_ids() else None
    films = None if folder is None else film_folder(archive, folder)
    if spool is None:
        return NeighbourPictures(cxr, films)
    ids: dict[str, str] = {}
    for film in spool.predictions():
        ids[archive_id(film.film_id, key)] = film.film_id
        if films and film.path:
            films.leave_out(film.film_id, film.path)
    return NeighbourPictures(cxr, films, lambda archived: spool.find(ids.get(archived, "")))
