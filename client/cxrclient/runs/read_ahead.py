"""Films that are read before they are predicted, because the archive is asked for them first.

Each is read once: what was read is sent, unless the archive has the film. So many are held at a
time as fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cxrclient.archive import archive_id
from cxrclient.errors import FilmError
from cxrclient.films import Film, read_film

__all__ = ["Known", "batches", "read_with_id"]

Known = tuple[str | Film | FilmError, str | None]
"""A film, and its id in the archive where that is known."""

_FILMS = 64
_BYTES = 128 << 20


def read_with_id(film: str | FilmError, uid_key: bytes | None) -> Known:
    """Read a film; it comes as its error, without an id, where it cannot be read.

    Args:
        film: path of its file; an error comes out as it went in.
        uid_key: for hashed ids; None for ids in clear.
    """
    if isinstance(film, FilmError):
        return film, None
    try:
        read = read_film(film)
    except FilmError as error:
        return error, None
    return read, archive_id(read.film_id, uid_key)


def batches(films: Iterable[Known]) -> Iterator[list[Known]]:
    """Lists of 64 films, of fewer where those that were read are large."""
    batch: list[Known] = []
    held = 0
    for film, film_id in films:
        batch.append((film, film_id))
        held += len(film.payload) if isinstance(film, Film) else 0
        if len(batch) == _FILMS or held > _BYTES:
            yield batch
            batch, held = [], 0
    yield batch
