"""What may enter the archive, and how a film lies in it.

Everything is checked before Milvus sees it: Milvus Lite takes NaN (later searches can hang) and
keeps the last of two rows with one id, where a Milvus server refuses.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrclient.archive.milvus.filters import text
from cxrclient.archive.milvus.layout import CHECKSUM, FIELDS as FIELDS, NO_PROBABILITY, Layout
from cxrclient.errors import ArchiveInput
from cxrclient.files import short_hash
from cxrclient.wire import shortest_float

EMBEDDING_SIZE = 128
TEXT_MAX = 128
CHECKSUM_SIZE = 16
_METADATA_MAX_BYTES = 16384
# UIDs and hexadecimal digests, with room for a site's own numbers. Milvus Lite pastes ids into its
# SQL without quoting them (an apostrophe fails there), so what SQL could read stays out.
_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")


@dataclass(frozen=True)
class Neighbour:
    """One film of the archive, near a query.

    Attributes:
        id: SOP Instance UID, or sha256 of the file where it has none.
        distance: Euclidean, in the embedding's units.
        label: class name; `label_source` says whether it is `metadata` (ground truth) or
            `predicted`.
        probability: of the positive class, as predicted when the film was put in; None if not.
        patient_key: keyed hash of the patient id; None where the film named no patient.
        metadata: whatever else was put in with the film.
    """

    id: str
    distance: float
    label: str | None
    probability: float | None
    patient_key: str | None
    label_source: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def study_uid(self) -> str | None:
        """Study Instance UID, by which a radiologist opens the film in the hospital's archive."""
        return _text_or_none(self.metadata.get("study_uid"))

    @property
    def days(self) -> float | None:
        """Days since the patient's first film, or since what `days_meaning` says."""
        return _number_or_none(self.metadata.get("days"))

    @property
    def days_meaning(self) -> str:
        """What `days` counts from, in words."""
        return _text_or_none(self.metadata.get("offset_meaning")) or "days since the first film"


@dataclass(frozen=True)
class ArchivedFilm:
    """One film as it lies in the archive.

    Attributes:
        id: SOP Instance UID, or sha256 of the file where it has none.
        embedding: float32 [128].
        metadata: whatever else was put in with the film; the rest as in `Neighbour`.
        checksum: as it was stored with the film; None where none was.
    """

    id: str
    embedding: npt.NDArray[np.float32] = field(hash=False, compare=False, repr=False)
    label: str | None
    probability: float | None
    patient_key: str | None
    label_source: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    checksum: str | None = field(default=None, hash=False, compare=False, repr=False)

    def about(self) -> dict[str, Any]:
        """All but id and embedding, as `SimilarityIndex.add` takes it."""
        return {name: getattr(self, name) for name in FIELDS} | dict(self.metadata)

    def checksum_now(self) -> str:
        """Of all that is known of the film, as it is read: 16 digits in hex; no secret."""
        # Read once more, for a tuple comes back as a list, and a number as a name as its text.
        about = json.dumps(json.loads(json.dumps(self.about())), sort_keys=True)
        content = b"\0".join((self.id.encode(), about.encode(), self.embedding.tobytes()))
        return short_hash(content, CHECKSUM_SIZE // 2).hex()

    def is_as_stored(self) -> bool:
        """Whether no bit has flipped since the film was stored; also where it has no checksum."""
        return self.checksum in (None, self.checksum_now())

    def require_as_stored(self) -> None:
        """Raise ArchiveInput where a bit has flipped: a copy would have a right checksum of it."""
        if not self.is_as_stored():
            raise ArchiveInput(
                f"{self.id}: the film is not what was stored, by its checksum. Mend the archive "
                "first: cxrclient archive verify --mend"
            )


@dataclass(frozen=True)
class Added:
    """What `SimilarityIndex.add` did: films new to the archive, and films written over."""

    added: int
    already_there: int

    def __add__(self, other: Added) -> Added:
        return Added(self.added + other.added, self.already_there + other.already_there)


def is_id(value: object) -> bool:
    """Whether `value` can be a film's id here: 1 to 128 letters, digits or `. _ : / -`."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def rows(
    ids: Sequence[str],
    embeddings: npt.ArrayLike,
    metadata: Sequence[Mapping[str, Any]],
    layout: Layout,
) -> list[dict[str, Any]]:
    """Films as rows of Milvus.

    Args:
        ids: of the films.
        embeddings: float [n, 128].
        metadata: what is known of each.
        layout: of the collection.

    Raises:
        ArchiveInput: names the film that must not enter.
    """
    arrays = vectors(embeddings, (len(ids), EMBEDDING_SIZE))
    if len(metadata) != len(ids):
        raise ArchiveInput(f"{len(ids)} ids, but {len(metadata)} dicts of metadata.")
    seen: set[str] = set()
    for film_id in ids:
        if not is_id(film_id):
            raise ArchiveInput(
                f"{film_id!r} cannot be an id. An id has 1 to 128 letters, digits or . _ : / -"
            )
        if film_id in seen:
            raise ArchiveInput(f"The id {film_id} is in the batch twice.")
        seen.add(film_id)
    made = [
        {"id": film_id, "embedding": vector, **_fields(film_id, about, layout)}
        for film_id, vector, about in zip(ids, arrays, metadata, strict=True)
    ]
    if layout.has_checksums:
        for row in made:
            row[CHECKSUM] = archived(row, layout).checksum_now()
    return made


def vectors(values: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """`values` as float32 of just this shape, finite. Raises ArchiveInput where they are not."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # ragged
        raise ArchiveInput(f"The embeddings are no array: {error}") from error
    if array.size == 0 and shape[0] == 0:
        return np.empty(shape, np.float32)
    if array.dtype.kind != "f":
        raise ArchiveInput(f"Embeddings are floating point numbers, not {array.dtype}.")
    if array.shape != shape:
        raise ArchiveInput(f"The embeddings have the shape {array.shape}; {shape} is needed.")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        # Milvus Lite takes NaN in, and later searches can hang.
        where = (
            sorted(set(np.argwhere(~np.isfinite(array))[:, 0].tolist())) if len(shape) > 1 else []
        )
        rows = f" in row {', '.join(map(str, where[:5]))}" if where else ""
        raise ArchiveInput(f"The embeddings have NaN or infinite values{rows}.")
    return array


def _fields(film_id: str, about: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    if reserved := {"id", "embedding", "patient_id"} & set(about):
        raise ArchiveInput(
            f"{film_id}: metadata must not have {min(reserved)!r} (a patient goes in as "
            "patient_key, see cxrclient.archive.identity)."
        )
    fields: dict[str, Any] = {}
    for name in ("label", "label_source", "patient_key"):
        value = about.get(name)
        fields[name] = "" if value is None else text(name, value, TEXT_MAX)
    probability = about.get("probability")
    if probability is not None and not 0 <= float(probability) <= 1:
        raise ArchiveInput(f"{film_id}: probability is {probability}, not between 0 and 1.")
    fields["probability"] = NO_PROBABILITY if probability is None else float(probability)
    rest = {name: value for name, value in about.items() if name not in FIELDS}
    try:
        encoded = json.dumps(rest, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ArchiveInput(f"{film_id}: the metadata cannot be kept as JSON ({error}).") from error
    if len(encoded) > _METADATA_MAX_BYTES:
        raise ArchiveInput(
            f"{film_id}: {len(encoded)} bytes of metadata; {_METADATA_MAX_BYTES} is the limit."
        )
    return {**fields, **layout.split(rest)}


def neighbour(hit: Mapping[str, Any], layout: Layout) -> Neighbour:
    """A film as Milvus found it."""
    return Neighbour(
        id=str(hit["id"]),
        distance=shortest_float(
            math.sqrt(max(0.0, float(hit["distance"])))
        ),  # Milvus's L2 is squared
        **_known(hit["entity"], layout),
    )


def archived(row: Mapping[str, Any], layout: Layout) -> ArchivedFilm:
    """A film as Milvus keeps it."""
    return ArchivedFilm(
        id=str(row["id"]),
        embedding=np.asarray(row["embedding"], np.float32),
        checksum=row.get(CHECKSUM) or None,
        **_known(row, layout),
    )


def _known(row: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    probability = float(row["probability"])
    return {
        "label": row["label"] or None,
        "probability": None if probability == NO_PROBABILITY else shortest_float(probability),
        "patient_key": row["patient_key"] or None,
        "label_source": row["label_source"] or None,
        "metadata": layout.known(row),
    }


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number_or_none(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]
