"""Films → predictions → archive, a batch at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrclient.errors import ArchiveMismatch, FilmError
from cxrclient.film import read_film
from cxrclient.identity import patient_key
from cxrclient.index import Added, SimilarityIndex
from cxrclient.metadata import FilmMetadata
from cxrclient.prediction import Prediction

if TYPE_CHECKING:
    from cxrclient.client import CxrClient

__all__ = ["Repeated", "archive_films", "archive_row"]

BATCH = 64
"""Films between two writes: what an interruption can cost."""


@dataclass(frozen=True)
class Repeated:
    """A film that came before in the same run: the same file, or the same SOP Instance UID."""

    path: str | None
    first_path: str | None


def archive_films(
    cxr: CxrClient,
    index: SimilarityIndex,
    films: Iterable[str | FilmError],
    *,
    metadata: Mapping[str, FilmMetadata],
    key: bytes,
) -> Generator[Added | Repeated | FilmError, None, None]:
    """Predict films and put them into the archive.

    A film that is there already stays as it is, unless `metadata` has a row for it: its prediction
    cannot have changed, for the archive is bound to the model. What is predicted is stored also
    where the run is interrupted or the generator closed (close it before the archive).

    Args:
        cxr: the server.
        index: the archive, open, of the server's model.
        films: paths; a FilmError among them comes out where it went in.
        metadata: film path → its row, for those that have one.
        key: of the patients' keyed hashes.

    Yields:
        What each write did; each film that came before in this run; each film that has no
        prediction or cannot be stored.

    Raises:
        ArchiveMismatch: the server began to serve another model on the way.
        ArchiveUnavailable: the archive failed; what was yielded before is safe.
    """
    paths: dict[str, str | None] = {}
    batch: list[tuple[Prediction, dict[str, Any]]] = []
    try:
        for outcome in cxr.predict_many(films):
            if isinstance(outcome, FilmError):
                yield outcome
                continue
            _check_model(outcome, index)
            if outcome.film_id in paths:
                yield Repeated(outcome.path, paths[outcome.film_id])
                continue
            try:
                batch.append((outcome, archive_row(outcome, metadata.get(outcome.path or ""), key)))
            except FilmError as error:
                yield error
                continue
            paths[outcome.film_id] = outcome.path
            if len(batch) == BATCH:
                done = _write(index, batch, metadata)
                batch.clear()
                yield done
    except (KeyboardInterrupt, ArchiveMismatch):
        if batch:
            yield _write(index, batch, metadata)
        raise
    except GeneratorExit:
        if batch:
            _write(index, batch, metadata)
        raise
    if batch:
        yield _write(index, batch, metadata)


def _check_model(prediction: Prediction, index: SimilarityIndex) -> None:
    if prediction.model.digest != index.model_digest:
        raise ArchiveMismatch(
            f"The server now serves another model ({prediction.model.digest[:12]}) than the one "
            f"that {index.uri} is of ({index.model_digest[:12]}). Index into a new archive."
        )


def _write(
    index: SimilarityIndex,
    batch: list[tuple[Prediction, dict[str, Any]]],
    metadata: Mapping[str, FilmMetadata],
) -> Added:
    there = index.known(prediction.film_id for prediction, _ in batch)
    rows = [
        (prediction, row)
        for prediction, row in batch
        if prediction.film_id not in there or prediction.path in metadata
    ]
    done = Added(0, len(batch) - len(rows))
    if rows:
        done += index.add(
            [prediction.film_id for prediction, _ in rows],
            np.stack([prediction.embedding for prediction, _ in rows]),
            [row for _, row in rows],
            there=there,
        )
    return done


def archive_row(prediction: Prediction, known: FilmMetadata | None, key: bytes) -> dict[str, Any]:
    """What the archive keeps of a film besides its embedding.

    The label is the ground truth of `known` where it has one, else the predicted label, and
    `label_source` says which. View, sex, age and Study UID come from the film's header unless
    `known` has them. The patient is only there as a keyed hash.

    Raises:
        FilmError: the film cannot be read any more.
    """
    row: dict[str, Any] = {}
    patient = known.patient_id if known else None
    if prediction.path is not None:
        # The header stayed here when the image was sent; it is read again rather than carried
        # through the predictions of a whole run.
        film = read_film(prediction.path)
        header = {"study_uid": film.study_uid, "view": film.view, "sex": film.sex, "age": film.age}
        row |= {name: value for name, value in header.items() if value is not None}
        patient = patient or film.patient_id
    if known:
        row |= known.columns
    truth = known.label if known else None
    return row | {
        "label": truth or prediction.label,
        "label_source": "metadata" if truth else "predicted",
        "probability": prediction.probability,
        "patient_key": patient_key(patient, key) if patient and patient.strip() else None,
    }
