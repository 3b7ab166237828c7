"""Which films of an archive are the query itself, or its patient's: no neighbours of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrclient.archive.archive_key import key_of
from cxrclient.archive.identity import archive_id, names_somebody, patient_key
from cxrclient.errors import UsageError

if TYPE_CHECKING:
    from cxrclient.archive.index import SimilarityIndex
    from cxrclient.wire import Prediction


@dataclass(frozen=True)
class OwnFilms:
    """What to leave out of a search.

    Attributes:
        ids: the query's own, if the archive has it.
        patients: keys of its patient, from the archive and from the film's header.
        doubt: why other films of the patient may not be recognised; None where they are.
    """

    ids: tuple[str, ...]
    patients: frozenset[str]
    doubt: str | None = None


def own_films(archive: SimilarityIndex, prediction: Prediction) -> OwnFilms:
    """Look the film up in the archive, and its patient in the film's header.

    Raises:
        ArchiveUnavailable: the archive failed.
        UsageError: the archive's ids are hashed, and the key of the hashes is not here, or
            another.
    """
    uid_key = key_of(archive) if archive.has_hashed_ids() else None
    known = list(archive.films([archive_id(prediction.film_id, uid_key)]))
    patients = {film.patient_key for film in known if film.patient_key}
    film, why = prediction.film, ""
    if film is None:
        why = "A copy of a prediction has no header; search with the prediction itself."
    elif names_somebody(film.patient_id):
        try:
            patients.add(patient_key(film.patient_id, key_of(archive), film.patient_issuer))
        except UsageError as error:
            why = error.message
    doubt = "Other films of this patient are not recognised, and may be among the answers."
    return OwnFilms(
        tuple(film.id for film in known), frozenset(patients), f"{doubt} {why}" if why else None
    )
