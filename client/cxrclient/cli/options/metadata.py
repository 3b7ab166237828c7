"""`--metadata FILE.csv` and `--site`: what a site knows of its films, before one is sent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.terminal import say

if TYPE_CHECKING:
    from cxrclient.archive import FilmMetadata

Site = Annotated[
    str | None,
    typer.Option(
        help="Where the films are from, for films without a `site` in the metadata.",
        show_default=False,
    ),
]


def known_of(metadata: Path, films: Iterable[object]) -> dict[str, FilmMetadata]:
    """Film path → its row; says how many have none.

    Args:
        metadata: the CSV.
        films: as a search gives them, those that cannot be read included.

    Raises:
        MetadataError: all that is wrong with the CSV.
    """
    from cxrclient.archive import match_films, read_metadata

    paths = [film for film in films if isinstance(film, str)]
    known = match_films(read_metadata(metadata), paths, metadata)
    if len(known) < len(paths):
        first = next(film for film in paths if film not in known)
        say(
            f"{len(paths) - len(known)} of {len(paths)} films have no row in {metadata} "
            f"(the first is {first}).",
            fg="yellow",
        )
    return known
