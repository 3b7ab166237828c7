"""An archive taken over to a new model or format: its films beside it, then one switch.

For a new model the films are predicted again. The archive keeps no paths, so they are given; each
is known by its id. For a new format, or a model that makes the same embeddings, they are copied.
Until the switch, the old archive serves as before, and an interrupted run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrclient.archive import SimilarityIndex, archive_id
from cxrclient.errors import FilmError, UsageError
from cxrclient.films import Film
from cxrclient.runs.read_ahead import batches, read_with_id
from cxrclient.wire import Prediction

if TYPE_CHECKING:
    from cxrclient.wire import CxrClient

_BATCH = 64
_COPIED = 1000


@dataclass
class Migration:
    """How far a migration is.

    Attributes:
        taken_over: films predicted again or copied, and stored.
        before: films that an earlier run had taken over.
        not_in_archive: films that were given and that the archive does not have.
        failures: films without a prediction.
    """

    taken_over: int = 0
    before: int = 0
    not_in_archive: int = 0
    failures: list[FilmError] = field(default_factory=list)


def beside(old: SimilarityIndex, digest: str) -> str:
    """The name of the collection for a model's films beside an archive."""
    name = f"{old.archive}_{digest[:12]}"
    return f"{name}_2" if name == old.collection else name


def take_over(
    old: SimilarityIndex, new: SimilarityIndex, *, site: str | None = None
) -> Iterator[Migration]:
    """Copy the films of `old` to `new`, whose model makes the very same embeddings of them.

    Args:
        old: the archive.
        new: what takes its place, in the collection `beside` it.
        site: of films that have none.

    Yields:
        How far it is, after each batch; always the same object.

    Raises:
        ArchiveInput: bits of a film have flipped; films before its batch are copied.
        ArchiveUnavailable: an archive failed; call again to go on.
    """
    done = Migration()
    films = old.films()
    while some := list(islice(films, _COPIED)):
        there = new.known(film.id for film in some)
        left = [film for film in some if film.id not in there]
        for film in left:
            film.require_as_stored()
        if left:
            new.add(
                [film.id for film in left],
                np.stack([film.embedding for film in left]),
                [_of_site(film.about(), site) for film in left],
                there=(),
            )
        done.taken_over += len(left)
        done.before += len(there)
        yield done


def migrate(
    cxr: CxrClient,
    old: SimilarityIndex,
    new: SimilarityIndex,
    films: Iterable[str | FilmError],
    *,
    key: bytes | None = None,
    site: str | None = None,
) -> Iterator[Migration]:
    """Predict the films of `old` with the server's model, and store them in `new`.

    What was known of a film comes along by its id: ground truth, patient key and all columns. A
    label that was a prediction is predicted anew.

    Args:
        cxr: the server.
        old: the archive.
        new: an index of the server's model, in the collection `beside` it.
        films: paths; a FilmError among them counts as a failure.
        key: of the hashed ids, where `old.has_hashed_ids()`.
        site: of films that have none.

    Yields:
        How far it is, after each batch; always the same object.

    Raises:
        UsageError: the ids of `old` are hashed, and there is no key.
        ArchiveUnavailable: an archive failed; call again to go on.
    """
    if old.has_hashed_ids() and key is None:
        raise UsageError("The ids of this archive are hashed; the patient key is needed.")
    hashed = key if old.has_hashed_ids() else None
    done = Migration()
    outcomes = cxr.predict_many(_wanted(old, new, films, hashed, done))
    while batch := list(islice(outcomes, _BATCH)):
        done.failures += [o for o in batch if isinstance(o, FilmError)]
        predicted = {archive_id(o.film_id, hashed): o for o in batch if isinstance(o, Prediction)}
        rows = {film.id: film.about() for film in old.films(predicted)}
        if rows:
            new.add(
                list(rows),
                np.stack([predicted[film_id].embedding for film_id in rows]),
                [
                    _row(_of_site(about, site), predicted[film_id])
                    for film_id, about in rows.items()
                ],
            )
        done.taken_over += len(rows)
        yield done


def missing(old: SimilarityIndex, new: SimilarityIndex) -> Iterator[str]:
    """Ids of the films of `old` that `new` does not have, by ascending id."""
    ids = old.ids()
    while some := list(islice(ids, _COPIED)):
        there = new.known(some)
        yield from (film_id for film_id in some if film_id not in there)


def switch(old: SimilarityIndex, new: SimilarityIndex, *, drop_old: bool = False) -> None:
    """Let `new` be the archive from now on: whoever opens it next, opens `new`.

    Args:
        old: the archive as it was opened. It stays beside, unless `drop_old`.
        new: what takes its place.
        drop_old: remove the old films.
    """
    new.fit_index()
    old._store.switch(old.archive, new.collection)
    if drop_old:
        old._store.drop(old.collection)


def _wanted(
    old: SimilarityIndex,
    new: SimilarityIndex,
    films: Iterable[str | FilmError],
    hashed: bytes | None,
    done: Migration,
) -> Iterator[str | Film | FilmError]:
    """Those of `films` that are in the archive and not taken over yet, each once."""
    taken: set[str] = set()
    for batch in batches(films, partial(read_with_id, uid_key=hashed)):
        given: dict[str, str | Film | FilmError] = {}
        for film, film_id in batch:
            if film_id is None:
                yield film
            else:
                given.setdefault(film_id, film)
        known = old.known(given)
        there = new.known(known)
        done.not_in_archive += len(given) - len(known)
        done.before += len(there - taken)
        for film_id in known - there - taken:
            taken.add(film_id)
            yield given[film_id]


def _of_site(about: Mapping[str, Any], site: str | None) -> dict[str, Any]:
    return {"site": site, **about} if site else dict(about)


def _row(about: Mapping[str, Any], prediction: Prediction) -> dict[str, Any]:
    row = dict(about) | {"probability": prediction.probability}
    if about.get("label_source") != "metadata":
        row |= {"label": prediction.label, "label_source": "predicted"}
    return row
