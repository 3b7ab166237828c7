"""The archive of films: embeddings in Milvus, and the films nearest to one.

The same class works on a file (Milvus Lite) and on a server or cluster; only the URI changes.
Distances are Euclidean, as in the paper.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from cxrclient.archive.identity import HASHED_UID
from cxrclient.archive.milvus import (
    filters as milvus_filter,
    index_kinds as index_kinds,
    rows as archive_rows,
)
from cxrclient.archive.milvus.columns import Columns
from cxrclient.archive.milvus.index_kinds import IndexKind
from cxrclient.archive.milvus.link import without_credentials
from cxrclient.archive.milvus.raw_filter import parenthesised
from cxrclient.archive.milvus.rows import EMBEDDING_SIZE, Added as Added, ArchivedFilm, Neighbour
from cxrclient.archive.milvus.store import ANSWER_MAX, Store
from cxrclient.archive.milvus.tls import Tls
from cxrclient.archive.neighbours import nearest
from cxrclient.errors import ArchiveInput, ArchiveMismatch, ArchiveUnavailable

if TYPE_CHECKING:
    from cxrclient.wire import Prediction

K_MAX = 1000
# Films a write. Milvus Lite is fastest with 500; a server is asked before each write what it has,
# which waits for its tick of 200 ms (docs/adr/0016).
_BATCH = 500
_SERVER_BATCH = 1000


class SimilarityIndex:
    """An archive of films, bound to the model that made its embeddings. A context manager.

    Example:
        >>> with SimilarityIndex("cxr.db", model_digest=cxr.model.digest) as index:
        ...     index.add(ids, embeddings, metadata)
        ...     index.search(cxr.predict("film.dcm"), k=4, view="AP", age=(40, 60))
        ...     index.search_id("1.2.840.1", where='treatment == "oxygen" or days <= 3')
    """

    def __init__(
        self,
        uri: str | Path,
        *,
        model_digest: str | None,
        token: str | None = None,
        tls: Tls | None = None,
        collection: str = "cxr_films",
        create: bool = True,
        timeout_s: float = 30.0,
    ) -> None:
        """Open the archive; everything that can be wrong with it is found now.

        Args:
            uri: path of a file ending in .db, or http(s)://HOST:PORT of a Milvus server, with
                /DATABASE behind it where it has several.
            model_digest: of the ensemble whose embeddings go in and come out; None takes the
                archive as it is (there must be one), to look at what is in it.
            token: for a Milvus server that asks for one (`user:password` or an API key).
            tls: certificates, for https where the usual authorities will not do.
            collection: its name in Milvus.
            create: make the archive where there is none.
            timeout_s: for each call.

        Raises:
            ArchiveUnavailable: locked, not writable, damaged, not reachable, not there.
            ArchiveMismatch: made with another model, or by another program.
            ArchiveInput: `model_digest` is empty.
            UsageError: a file that `tls` names is not there.
        """
        if model_digest == "":
            raise ArchiveInput("model_digest is empty; take it from the server (cxr.model.digest).")
        create = create and model_digest is not None
        self.uri = without_credentials(str(uri))
        self._store = Store(str(uri), token=token, tls=tls, timeout_s=timeout_s, create=create)
        self._batch = _BATCH if self._store.local else _SERVER_BATCH
        try:
            self.archive = collection
            self._key_check: str | None = None
            self._collection = self._store.current(collection)
            self.model_digest = self._bind(model_digest, create=create)
            self._kind = self._store.load(self._collection)
            self._layout = self._store.layout(self._collection)
            self.columns = Columns(self._store, self._collection, self.uri)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the archive back; others may open it now. Closing twice is fine."""
        self._store.close()

    def __len__(self) -> int:
        """Count the films in the archive."""
        return self._store.count(self._collection)

    @property
    def kind(self) -> IndexKind:
        """The index that searches use, with its parameters, as Milvus records it."""
        return self._kind

    @property
    def format(self) -> int:
        """Of the archive: 2, or 1 where an earlier version made it."""
        return self._layout.format

    @property
    def collection(self) -> str:
        """The collection in Milvus that holds the films: `archive`, or what took its place."""
        return self._collection

    def collections(self) -> dict[str, str]:
        """Name → model digest of the archive's collections: the one in use, and those beside it."""
        abouts = {name: self._store.about(name) for name in self._store.generations(self.archive)}
        return {name: about["model_digest"] for name, about in abouts.items() if about}

    def ids(self) -> Iterator[str]:
        """Ids of all films, ascending, read as they are asked for."""
        for rows in self._store.scan(self._collection, 10 * self._batch, ("id",)):
            yield from (str(row["id"]) for row in rows)

    def known(self, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that are in the archive."""
        found: set[str] = set()
        for some in self._batches(ids):
            found.update(self._store.ids(self._collection, some))
        return found

    def has_hashed_ids(self) -> bool | None:
        """Whether the films' ids are keyed hashes (`--hash-uids`); None for an empty archive.

        One film tells, as `archive_films` lets no other kind in beside it.
        """
        film_id = self._store.one_id(self._collection)
        return None if film_id is None else film_id.startswith(HASHED_UID)

    def key_check(self) -> str | None:
        """By which the archive's patient key is known again; None where it never had one."""
        if self._key_check is None:
            self._key_check = self._store.key_check(self.archive)
        return self._key_check

    def keep_key_check(self, check: str) -> None:
        """Bind the archive to the patient key of this `identity.key_check`."""
        self._store.keep_key_check(self.archive, check)
        self._key_check = check

    def films(self, ids: Iterable[str] | None = None) -> Iterator[ArchivedFilm]:
        """Films as they lie in the archive, with their embeddings.

        Args:
            ids: of those wanted, in any order; unknown ones are left out. None: all films by
                ascending id, read as they are asked for.

        Raises:
            ArchiveUnavailable: the archive failed.
        """
        if ids is None:
            batches = self._store.scan(self._collection, self._batch)
        else:
            batches = (self._store.rows(self._collection, some) for some in self._batches(ids))
        for rows in batches:
            yield from (archive_rows.archived(row, self._layout) for row in rows)

    def _batches(self, ids: Iterable[str]) -> Iterator[str]:
        """Filters that together match the ids, as many in one as Milvus is asked for at once."""
        wanted = [film_id for film_id in ids if archive_rows.is_id(film_id)]
        for start in range(0, len(wanted), self._batch):
            yield milvus_filter.one_of("id", wanted[start : start + self._batch])

    def add(
        self,
        ids: Sequence[str],
        embeddings: npt.ArrayLike,
        metadata: Sequence[Mapping[str, Any]],
        *,
        there: Collection[str] | None = None,
    ) -> Added:
        """Put films in; one whose id is there already is written over, so twice changes nothing.

        Args:
            ids: of the films, each once; letters, digits and `. _ : / -`, at most 128.
            embeddings: float [n, 128], finite.
            metadata: one dict a film. `label`, `label_source`, `probability` (0..1) and
                `patient_key` have places of their own; whatever else is kept as it is (JSON) and
                can be filtered by.
            there: those of `ids` that are in the archive, if `known` was just asked; it only
                saves asking again.

        Raises:
            ArchiveInput: something that must not be stored; nothing was.
            ArchiveUnavailable: the archive failed; the message says how many films are safe.
        """
        rows = archive_rows.rows(ids, embeddings, metadata, self._layout)
        done = Added(0, 0)
        for start in range(0, len(rows), self._batch):
            batch = rows[start : start + self._batch]
            try:
                of_batch = [row["id"] for row in batch]
                before = self.known(of_batch) if there is None else set(there) & set(of_batch)
                self._store.upsert(self._collection, batch)
            except ArchiveUnavailable as error:
                error.message += f" {start} of these {len(rows)} films are stored; add them again."
                raise
            done += Added(len(batch) - len(before), len(before))
        return done

    def fit_index(self) -> IndexKind:
        """Build the index that an archive of this size should have, if it has another.

        On a server that takes a while, and nobody can search meanwhile; so it is done at the end
        of a run that adds films, not by `add`.
        """
        wanted = index_kinds.fitting(len(self), local=self._store.local)
        if wanted.name != self._kind.name:
            self._store.build_index(self._collection, wanted)
            self._kind = self._store.load(self._collection)
        return self._kind

    def search(
        self,
        embedding: npt.ArrayLike | Prediction,
        k: int = 4,
        *,
        exclude: Collection[str] = (),
        exclude_patients: Collection[str] = (),
        one_per_patient: bool = True,
        where: str | None = None,
        **filters: milvus_filter.Filter,
    ) -> list[Neighbour]:
        """Find the films nearest to an embedding: ascending distance, equal ones by id.

        Args:
            embedding: float [128], finite; or a prediction, whose film and, where the archive has
                it, patient are left out.
            k: how many, 1 to 1000; fewer come back where the archive has fewer.
            exclude: ids to leave out, such as the query's own.
            exclude_patients: patient keys to leave out, such as that of the query's patient.
            one_per_patient: of each patient the nearest film only, so that k films are k patients.
                Films without a patient key stand for themselves.
            where: a filter in Milvus's language; it can only narrow the answer. Names are fields
                and columns of the metadata: `treatment == "oxygen" and (days < 3 or age > 60)`.
            filters: by `label`, `label_source`, `probability`, `patient_key` or any column of the
                metadata. A value means equal, a list or set one of these, a tuple (low, high) of
                numbers a closed range, open where None. Films without the column do not match; a
                column that no film has is a misspelt one, unless it is ours (`view`, `age`, …).

        Raises:
            ArchiveInput: an embedding, k or filter that makes no sense; a column of no film.
            ArchiveUnavailable: the archive failed.
        """
        without, patients = set(exclude), set(exclude_patients)
        film_id = getattr(embedding, "film_id", None)
        if film_id is not None:
            without.add(film_id)
            patients |= {film.patient_key for film in self.films([film_id]) if film.patient_key}
            embedding = embedding.embedding  # type: ignore[union-attr]
        vector = archive_rows.vectors(embedding, (EMBEDDING_SIZE,))  # type: ignore[arg-type]
        if not isinstance(k, Integral) or not 1 <= k <= K_MAX:
            raise ArchiveInput(f"k is {k!r}; it can be 1 to {K_MAX}.")
        also = [] if where is None else [parenthesised(where, self._layout)]
        self.columns.require(filters, where)

        def ask(limit: int, not_these: Collection[str], nor_of: Collection[str]) -> list[Neighbour]:
            expression = milvus_filter.expression(
                filters,
                self._layout,
                without_ids=not_these,
                without_patients=nor_of,
                also=also,
            )
            hits = self._store.nearest(self._collection, vector, limit, expression, self._kind)
            return [archive_rows.neighbour(hit, self._layout) for hit in hits]

        return nearest(
            ask,
            k,
            ANSWER_MAX,
            one_per_patient=one_per_patient,
            without_ids=without,
            without_patients=patients,
        )

    def search_id(
        self,
        film_id: str,
        k: int = 4,
        *,
        same_patient: bool = False,
        **options: Any,
    ) -> list[Neighbour]:
        """Find the films nearest to one of the archive; it is left out itself.

        Args:
            film_id: of that film.
            k: how many, 1 to 1000.
            same_patient: let other films of its patient in.
            options: those of `search`.

        Raises:
            ArchiveInput: there is no such film; else as `search`.
            ArchiveUnavailable: the archive failed.
        """
        film = next(self.films([film_id]), None)
        if film is None:
            raise ArchiveInput(f"There is no film {film_id!r} in {self.uri}.")
        exclude = {film_id, *options.pop("exclude", ())}
        patients = set(options.pop("exclude_patients", ()))
        if film.patient_key and not same_patient:
            patients.add(film.patient_key)
        return self.search(film.embedding, k, exclude=exclude, exclude_patients=patients, **options)

    def _bind(self, digest: str | None, *, create: bool) -> str:
        """Make the collection, or make sure that it is ours and of our model."""
        about = self._store.about(self._collection)
        if about is None:
            if not create or digest is None:
                raise ArchiveUnavailable(
                    f"There are no films in {self.uri} yet. Put some in: cxrclient index FILES "
                    f"--uri {self.uri}"
                )
            self._store.create(self._collection, digest)
            return digest
        found = str(about["model_digest"])
        if digest is not None and found != digest:
            raise ArchiveMismatch(
                f"{self.uri} holds embeddings of the model {found[:12]}, the server has "
                f"{digest[:12]}: distances between the two mean nothing. Move the archive to "
                f"the new model (cxrclient archive migrate FILES --uri {self.uri}), index the "
                "films into a new one (cxrclient index FILES --uri NEW.db), or use the server that "
                "filled this one."
            )
        return found
