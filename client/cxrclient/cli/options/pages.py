"""Options of the commands that write a page, said once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cxrclient.archive import SimilarityIndex
    from cxrclient.pages import NeighbourPictures
    from cxrclient.wire import CxrClient

ArchiveFilms = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="The folder of the archive's films, to show pictures of the neighbours."
    ),
]
Names = Annotated[
    bool,
    typer.Option(
        "--names/--no-names",
        help="Show file names on the page. They may hold patients' names.",
    ),
]


def neighbour_pictures(
    cxr: CxrClient, archive: SimilarityIndex, folder: Path | None
) -> NeighbourPictures | None:
    """Pictures of the archive's films, where their folder is given.

    Raises:
        UsageError: it is no folder, or the archive's ids are hashed and their key is not here.
    """
    if folder is None:
        return None
    from cxrclient.archive import key_of
    from cxrclient.pages import FilmFolder, NeighbourPictures

    key = key_of(archive) if archive.has_hashed_ids() else None
    return NeighbourPictures(cxr, FilmFolder(folder, key))
