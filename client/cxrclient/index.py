"""The archive of films: embeddings in Milvus, and the films nearest to one.

The same class works on a file (Milvus Lite) and on a server or cluster; only the URI changes.
Distances are Euclidean, as in the paper.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from cxrclient import _archive_rows as archive_rows
from cxrclient import _milvus_filter as milvus_filter
from cxrclient import _milvus_lite as milvus_lite
from cxrclient._archive_rows import EMBEDDING_SIZE, FIELDS, TEXT_MAX, Neighbour
from cxrclient.errors import ArchiveInput, ArchiveMismatch, ArchiveUnavailable
from cxrclient.identity import HASHED_UID

if TYPE_CHECKING:
    from pymilvus import MilvusClient

__all__ = ["EMBEDDING_SIZE", "Added", "Neighbour", "SimilarityIndex", "mean_probability"]

K_MAX = 1000
# Milvus answers at most this many rows; only a tie of thousands of equal distances comes near.
_ANSWER_MAX = 16384
_BATCH = 500


@dataclass(frozen=True)
class Added:
    """What `SimilarityIndex.add` did: films new to the archive, and films written over."""

    added: int
    already_there: int

    def __add__(self, other: Added) -> Added:
        return Added(self.added + other.added, self.already_there + other.already_there)


def mean_probability(neighbours: Iterable[Neighbour]) -> float | None:
    """Mean of the neighbours' predictions; None where none has one.

    Source: the paper's second classifier, nearest training films' mean *prediction*, k = 4.
    """
    known = [n.probability for n in neighbours if n.probability is not None]
    return sum(known) / len(known) if known else None


class SimilarityIndex:
    """An archive of films, bound to the model that made its embeddings. A context manager.

    Example:
        >>> with SimilarityIndex("cxr.db", model_digest=cxr.model.digest) as index:
        ...     index.add(ids, embeddings, metadata)
        ...     index.search(embedding, k=4, view="AP", age=(40, 60))
    """

    def __init__(
        self,
        uri: str | Path,
        *,
        model_digest: str,
        token: str | None = None,
        collection: str = "cxr_films",
        create: bool = True,
        timeout_s: float = 30.0,
    ) -> None:
        """Open the archive; everything that can be wrong with it is found now.

        Args:
            uri: path of a file ending in .db, or http(s)://HOST:PORT of a Milvus server.
            model_digest: of the ensemble whose embeddings go in and come out.
            token: for a Milvus server that asks for one (`user:password` or an API key).
            collection: its name in Milvus.
            create: make the archive where there is none.
            timeout_s: for each call.

        Raises:
            ArchiveUnavailable: locked, not writable, damaged, not reachable, not there.
            ArchiveMismatch: made with another model, or by another program.
            ArchiveInput: `model_digest` is empty.
        """
        if not model_digest:
            raise ArchiveInput("model_digest is empty; take it from the server (cxr.model.digest).")
        self.uri = str(uri)
        self.model_digest = model_digest
        self._collection = collection
        self._timeout_s = timeout_s
        self._path: Path | None = None
        if not self.uri.startswith(("http://", "https://")):
            self._path = milvus_lite.acquire(self.uri, create=create)
        self._client: MilvusClient | None = None
        try:
            with self._mapped():
                self._client = self._connect(token or "")
                self._bind(create=create)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the archive back; others may open it now. Closing twice is fine."""
        client, self._client = self._client, None
        path, self._path = self._path, None
        try:
            if client is not None:
                client.close()
        finally:
            if path is not None:
                milvus_lite.release(path)

    def __len__(self) -> int:
        """Count the films in the archive."""
        with self._mapped():
            rows = self._open.query(
                self._collection, filter="", output_fields=["count(*)"], timeout=self._timeout_s
            )
        return int(rows[0]["count(*)"])

    def known(self, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that are in the archive."""
        found: set[str] = set()
        wanted = [film_id for film_id in ids if archive_rows.is_id(film_id)]
        for start in range(0, len(wanted), _BATCH):
            some = milvus_filter.one_of("id", wanted[start : start + _BATCH])
            with self._mapped():
                rows = self._open.query(
                    self._collection, filter=some, output_fields=["id"], timeout=self._timeout_s
                )
            found.update(row["id"] for row in rows)
        return found

    def has_hashed_ids(self) -> bool | None:
        """Whether the films' ids are keyed hashes (`--hash-uids`); None for an empty archive.

        One film tells, as `archive_films` lets no other kind in beside it.
        """
        with self._mapped():
            rows = self._open.query(
                self._collection, filter="", limit=1, output_fields=["id"], timeout=self._timeout_s
            )
        return str(rows[0]["id"]).startswith(HASHED_UID) if rows else None

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
        rows = archive_rows.rows(ids, embeddings, metadata)
        done = Added(0, 0)
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            try:
                of_batch = [row["id"] for row in batch]
                before = self.known(of_batch) if there is None else set(there) & set(of_batch)
                with self._mapped():
                    self._open.upsert(self._collection, batch, timeout=self._timeout_s)
            except ArchiveUnavailable as error:
                error.message += f" {start} of these {len(rows)} films are stored; add them again."
                raise
            done += Added(len(batch) - len(before), len(before))
        return done

    def search(
        self,
        embedding: npt.ArrayLike,
        k: int = 4,
        *,
        exclude: Collection[str] = (),
        **filters: milvus_filter.Filter,
    ) -> list[Neighbour]:
        """Find the films nearest to an embedding: ascending distance, equal ones by id.

        Args:
            embedding: float [128], finite.
            k: how many, 1 to 1000; fewer come back where the archive has fewer.
            exclude: ids to leave out, such as the query's own.
            filters: by `label`, `label_source`, `probability`, `patient_key` or any column of the
                metadata. A value means equal, a list or set one of these, a tuple (low, high) of
                numbers a closed range, open where None. Films without the column do not match.

        Raises:
            ArchiveInput: an embedding, k or filter that makes no sense.
            ArchiveUnavailable: the archive failed.
        """
        vector = archive_rows.vectors(embedding, (EMBEDDING_SIZE,))
        if not 1 <= k <= K_MAX:
            raise ArchiveInput(f"k is {k}; it can be 1 to {K_MAX}.")
        expression = milvus_filter.expression(filters, exclude, FIELDS)
        limit = k + 8
        while True:
            found = self._nearest(vector, limit, expression)
            # Milvus picks at will among films at the same distance. As long as the last one it
            # gave is as near as the k-th, there may be more of them, so ask for more.
            tied = len(found) == limit and found[-1].distance == found[k - 1].distance
            if not tied or limit >= _ANSWER_MAX:
                break
            limit = min(2 * limit, _ANSWER_MAX)
        return sorted(found, key=lambda n: (n.distance, n.id))[:k]

    # --- Milvus ----------------------------------------------------------------------------

    @property
    def _open(self) -> MilvusClient:
        if self._client is None:
            raise ArchiveUnavailable(f"{self.uri} was closed. Open it again.")
        return self._client

    def _connect(self, token: str) -> MilvusClient:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # milvus_lite imports a deprecated pkg_resources
            from pymilvus import MilvusClient

            # pymilvus logs each refused call with its arguments; ids belong in no log (law 5),
            # and what went wrong is in the error that we raise.
            logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
            uri = str(self._path) if self._path else self.uri
            return MilvusClient(uri, token=token, timeout=self._timeout_s)

    def _bind(self, *, create: bool) -> None:
        """Make the collection, or make sure that it is ours and of our model."""
        if not self._open.has_collection(self._collection, timeout=self._timeout_s):
            if not create:
                raise ArchiveUnavailable(
                    f"There are no films in {self.uri} yet. Put some in: cxrclient index FILES "
                    f"--uri {self.uri}"
                )
            self._create()
            return
        about = self._open.describe_collection(self._collection, timeout=self._timeout_s)
        try:
            digest = json.loads(about["description"])["model_digest"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArchiveMismatch(
                f"The collection {self._collection} in {self.uri} was not made by cxrclient. Give "
                "another URI or another collection."
            ) from error
        if digest != self.model_digest:
            raise ArchiveMismatch(
                f"{self.uri} holds embeddings of the model {digest[:12]}, the server has "
                f"{self.model_digest[:12]}: distances between the two mean nothing. Index the "
                "films again into a new archive (cxrclient index FILES --uri NEW.db), or use the "
                "server that filled this one."
            )
        self._open.load_collection(self._collection, timeout=self._timeout_s)

    def _create(self) -> None:
        from pymilvus import DataType, MilvusClient

        # The description outlives the process in Milvus Lite; `properties` do not (measured).
        schema = MilvusClient.create_schema(
            auto_id=False,
            enable_dynamic_field=False,
            description=json.dumps({"format": 1, "model_digest": self.model_digest}),
        )
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=TEXT_MAX)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=EMBEDDING_SIZE)
        for name in ("label", "label_source", "patient_key"):
            schema.add_field(name, DataType.VARCHAR, max_length=TEXT_MAX)
        schema.add_field("probability", DataType.FLOAT)
        schema.add_field("metadata", DataType.JSON)
        index = MilvusClient.prepare_index_params()
        index.add_index("embedding", index_type="FLAT", metric_type="L2")  # exact
        self._open.create_collection(
            self._collection,
            schema=schema,
            index_params=index,
            consistency_level="Strong",  # what was added is found by the next search
            timeout=self._timeout_s,
        )

    def _nearest(
        self, vector: npt.NDArray[np.float32], limit: int, expression: str
    ) -> list[Neighbour]:
        with self._mapped():
            (hits,) = self._open.search(
                self._collection,
                data=[vector],
                limit=limit,
                filter=expression,
                output_fields=[*FIELDS, "metadata"],
                timeout=self._timeout_s,
            )
        return [archive_rows.neighbour(hit) for hit in hits]

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """The one seam where Milvus's and gRPC's errors become ours."""
        import grpc
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, grpc.RpcError, OSError, RuntimeError) as error:
            reason = " ".join(str(getattr(error, "message", error)).split()) or repr(error)
            raise ArchiveUnavailable(
                f"{self.uri} did not do what it was asked ({reason}). "
                + (
                    "The file may be damaged, or the disk full."
                    if self._path
                    else "Is the Milvus server running there, and the token right?"
                )
            ) from error
