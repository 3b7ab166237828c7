"""Films that are read before they are predicted, because the archive is asked for them first.

Each is read once: what was read is sent, unless the archive has the film. So many are held at a
time as fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cxrclient.archive import archive_id
from cxrclient.errors import FilmError
from cxrclient.films import Film, read_film

Known = tuple[str | Film | FilmError, str | None]
"""A film, and its id in the archive where that is known."""

_FILMS = 64
_BYTES = 128 << 20


def read_with_id(path: str, uid_key: bytes | None) -> Known:
    """Read a film, and say what id it has in the archive.

    Args:
        path: of its file.
        uid_key: for hashed ids; None for ids in clear.

    Raises:
        FilmError: it cannot be read.
    """
    film = read_film(path)
    return film, archive_id(film.film_id, uid_key)


def batches(
    paths: Iterable[str | FilmError], look_up: Callable[[str], Known]
) -> Iterator[list[Known]]:
    """Films with their ids, 64 at a time, or fewer where those that were read are large.

    Args:
        paths: of the films; a FilmError among them comes out where it went in.
        look_up: finds out what is known of a film; its FilmError takes the film's place.
    """
    batch: list[Known] = []
    held = 0
    for path in paths:
        try:
            film, film_id = (path, None) if isinstance(path, FilmError) else look_up(path)
        except FilmError as error:
            film, film_id = error, None
        batch.append((film, film_id))
        held += len(film.payload) if isinstance(film, Film) else 0
        if len(batch) == _FILMS or held > _BYTES:
            yield batch
            batch, held = [], 0
    yield batch
