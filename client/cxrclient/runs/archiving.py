"""Films → predictions → archive, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from cxrclient.archive import (
    Added,
    FilmMetadata,
    SimilarityIndex,
    bind_key,
    names_somebody,
    patient_key,
    same_patient_id,
    without_uids,
)
from cxrclient.errors import ArchiveMismatch, FilmError
from cxrclient.runs.index_journal import IndexJournal
from cxrclient.runs.indexed_files import IndexedFiles, Row
from cxrclient.runs.ledger import Ledger
from cxrclient.wire import Prediction

if TYPE_CHECKING:
    from cxrclient.wire import CxrClient

BATCH = 64
BATCH_S = 5.0
"""Films, and time, between two writes: what a kill -9 can cost."""


_OF_HEADER = ("study_uid", "series_uid", "view", "sex", "age", "days")


@dataclass(frozen=True)
class Kept:
    """So many films are in the archive by an earlier run, and were not predicted again."""

    films: int


@dataclass(frozen=True)
class Repeated:
    """A film that came before in the same run: the same file, or the same SOP Instance UID.

    Attributes:
        path: of this copy.
        first_path: of the one that is kept.
        row: `taken` where this copy alone has a row of metadata, and the film is written anew with
            it (an Added counts it); `differs` where both have one, and the first one's is kept.
    """

    path: str | None
    first_path: str | None
    row: Literal["taken", "differs"] | None = None


@dataclass(frozen=True)
class OtherPatient:
    """A film that is archived under another patient than its header's: PATIENT_DIFFERS.

    Attributes:
        path: of the film.
    """

    path: str | None


class Archiving:
    """Puts predictions into an archive, a batch at a time, whoever makes them.

    Args:
        index: the archive, open, of the model that makes them.
        metadata: film path → its row, for those that have one.
        key: of the patients' keyed hashes.
        hash_uids: keep keyed hashes of SOP and Study Instance UIDs too. Nobody can open a neighbour
            in the hospital's archive by them; the same film is still found to be the same.
        site: of films for which `metadata` has none.
        journal: remembers what became of each file.

    Attributes:
        files: the files under way; who predicts takes what is to do from there.

    Raises:
        ArchiveMismatch: the archive has UIDs in clear where they are to be hashed, or the other way
            round.
        KeyMismatch: the archive was filled with another key.
    """

    def __init__(
        self,
        index: SimilarityIndex,
        *,
        metadata: Mapping[str, FilmMetadata],
        key: bytes,
        hash_uids: bool = False,
        site: str | None = None,
        journal: IndexJournal | None = None,
    ) -> None:
        bind_key(index, key)
        _check_uids(index, hash_uids)
        self.files = IndexedFiles(index, metadata, key if hash_uids else None, journal)
        self._index, self._metadata = index, metadata
        self._key, self._hash_uids, self._site = key, hash_uids, site
        self._paths = Ledger()
        self._batch: list[Row] = []
        self._began_s = time.monotonic()

    def add(
        self, outcome: Prediction | FilmError
    ) -> Iterator[Added | Repeated | OtherPatient | FilmError]:
        """Take a film; gives what there is to say by now.

        Raises:
            ArchiveMismatch: the prediction is of another model than the archive.
            ArchiveUnavailable: the archive failed.
        """
        if isinstance(outcome, FilmError):
            self.files.failed(outcome)
            yield outcome
            return
        _check_model(outcome, self._index)
        archived = self.files.archive_id(outcome.film_id)
        first_path = self._paths[outcome.film_id]
        known = self._metadata.get(outcome.path or "")
        if first_path is not None:
            repeated = Repeated(outcome.path, first_path, self._of_row(known, first_path))
            yield repeated
            if repeated.row != "taken":
                self.files.stored([(outcome.path, archived)])
                return
        if _names_another(outcome, known):
            yield OtherPatient(outcome.path)
        row = archive_row(outcome, known, self._key, self._hash_uids, self._site)
        self._batch.append((archived, outcome, row))
        self._paths[outcome.film_id] = outcome.path or ""
        if len(self._batch) == BATCH or time.monotonic() - self._began_s > BATCH_S:
            yield from self.flush()

    def _of_row(
        self, known: FilmMetadata | None, first_path: str
    ) -> Literal["taken", "differs"] | None:
        """What a repeated film's row of the metadata is beside that of its first copy."""
        if known is None:
            return None
        first = self._metadata.get(first_path)
        if first is None:
            return "taken"
        same = replace(first, line=known.line, image=known.image) == known
        return None if same else "differs"

    def flush(self) -> Iterator[Added]:
        """Write what was taken and is not written yet."""
        if self._batch:
            done = self.files.write(self._batch)
            self._batch.clear()
            self._began_s = time.monotonic()
            yield done

    def close(self) -> None:
        """Let go of what was remembered; writes nothing."""
        self._paths.close()


def archive_films(
    cxr: CxrClient,
    index: SimilarityIndex,
    films: Iterable[str | FilmError],
    *,
    metadata: Mapping[str, FilmMetadata],
    key: bytes,
    hash_uids: bool = False,
    site: str | None = None,
    journal: IndexJournal | None = None,
    resume: bool = False,
    on_prediction: Callable[[Prediction], None] = lambda _prediction: None,
) -> Generator[Added | Kept | Repeated | OtherPatient | FilmError, None, None]:
    """Predict films and put them into the archive.

    A film that is there already stays as it is, unless `metadata` has a row for it or its file has
    changed since `journal` saw it: its prediction cannot have changed, for the archive is bound to
    the model. What is predicted is stored also where the run is interrupted or the generator closed
    (close it before the archive).

    Args:
        cxr: the server.
        index: the archive, open, of the server's model.
        films: paths; a FilmError among them comes out where it went in.
        metadata: as in Archiving; so are the next four.
        key: see there.
        hash_uids: see there.
        site: see there.
        journal: see there.
        resume: pass over films that the archive has, without predicting them; what `journal` does
            not know is read to find out.
        on_prediction: called with each as it comes, before it is stored.

    Yields:
        What each write did; how many films were passed over; each film that came before in this
        run; each film whose metadata names another patient than its header; each that has no
        prediction.

    Raises:
        ArchiveMismatch: the server began to serve another model on the way; else as Archiving.
        KeyMismatch: as Archiving.
        ArchiveUnavailable: the archive failed; what was yielded before is safe.
    """
    archiving = Archiving(
        index, metadata=metadata, key=key, hash_uids=hash_uids, site=site, journal=journal
    )
    files = archiving.files
    try:
        for outcome in cxr.predict_many(files.to_do(films, resume=resume)):
            if files.kept:
                yield Kept(files.take_kept())
            if isinstance(outcome, Prediction):
                _check_model(outcome, index)
                on_prediction(outcome)
            yield from archiving.add(outcome)
    except (KeyboardInterrupt, ArchiveMismatch):
        yield from archiving.flush()
        raise
    except GeneratorExit:
        for _added in archiving.flush():
            pass
        raise
    finally:
        archiving.close()
    if files.kept:
        yield Kept(files.take_kept())
    yield from archiving.flush()


def _check_uids(index: SimilarityIndex, hash_uids: bool) -> None:
    hashed = index.has_hashed_ids()
    if hashed is None or hashed == hash_uids:
        return
    raise ArchiveMismatch(
        f"The UIDs in {index.uri} are {'hashed' if hashed else 'in clear'}: index "
        f"{'with' if hashed else 'without'} `hash_uids`, or into a new archive."
    )


def _check_model(prediction: Prediction, index: SimilarityIndex) -> None:
    if prediction.model.digest != index.model_digest:
        raise ArchiveMismatch(
            f"The server now serves another model ({prediction.model.digest[:12]}) than the one "
            f"that {index.uri} is of ({index.model_digest[:12]}). Index into a new archive."
        )


def _names_another(prediction: Prediction, known: FilmMetadata | None) -> bool:
    """Whether a film's metadata and its header name two patients."""
    stated = known.patient_id if known else None
    header = prediction.film.patient_id if prediction.film else None
    both = names_somebody(stated) and names_somebody(header)
    return both and not same_patient_id(str(stated), str(header))


def archive_row(
    prediction: Prediction,
    known: FilmMetadata | None,
    key: bytes,
    hash_uids: bool = False,
    site: str | None = None,
) -> dict[str, Any]:
    """What the archive keeps of a film besides its embedding.

    The label is the ground truth of `known` where it has one, else the predicted label, and
    `label_source` says which. View, sex, age, days, Study and Series UID come from the film's
    header unless `known` has them. The patient is only there as a keyed hash, and so is each UID
    where `hash_uids` says so, in whatever column it is.

    Args:
        prediction: of the film.
        known: its row of the metadata.
        key: of the keyed hashes.
        hash_uids: hash UIDs too.
        site: where `known` has none.
    """
    row: dict[str, Any] = {"site": site} if site else {}
    patient, issuer = known.patient_id if known else None, None
    if film := prediction.film:
        header = {name: getattr(film, name) for name in _OF_HEADER}
        row |= {name: value for name, value in header.items() if value is not None}
        patient = patient or film.patient_id
        if film.patient_id and patient and same_patient_id(patient, film.patient_id):
            issuer = film.patient_issuer
    if known:
        row |= known.columns
    if hash_uids:
        row = without_uids(row, key)
    truth = known.label if known else None
    return row | {
        "label": truth or prediction.label,
        "label_source": "metadata" if truth else "predicted",
        "probability": prediction.probability,
        "patient_key": patient_key(patient, key, issuer) if names_somebody(patient) else None,
    }
