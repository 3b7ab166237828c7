"""Options of the commands that write a page, said once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cxrclient.archive import SimilarityIndex
    from cxrclient.films import FloatArray
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
ArchiveMaps = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="The folder of `predict --maps`: pictures of the neighbours, predicting none again.",
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
    maps: Path | None,
    spool: Spool | None = None,
) -> NeighbourPictures | None:
    """Pictures of the archive's films, where they, or their maps, are at hand; None for none.

    Args:
        cxr: the server.
        archive: whose films they are.
        folder: where they lie.
        maps: where `predict --maps` stored what the networks saw of them.
        spool: what the run predicted, all of it.

    Raises:
        UsageError: it is no folder, or the archive's ids are hashed and their key is not here.
    """
    if folder is None and maps is None and spool is None:
        return None
    from cxrclient.archive import archive_id, key_of
    from cxrclient.pages import NeighbourPictures
    from cxrclient.runs import StoredMaps

    key = key_of(archive) if archive.has_hashed_ids() else None
    films = None if folder is None else film_folder(archive, folder)
    stored = None if maps is None else StoredMaps(maps, archive, key)
    ids: dict[str, str] = {}
    for film in spool.predictions() if spool else ():
        ids[archive_id(film.film_id, key)] = film.film_id
        if films and film.path:
            films.leave_out(film.film_id, film.path)

    def at_hand(archived: str) -> FloatArray | None:
        seen = spool.find(ids[archived]) if spool and archived in ids else None
        if seen:
            return seen.cxr
        return stored.film(archived) if stored else None

    return NeighbourPictures(cxr, films, at_hand)
