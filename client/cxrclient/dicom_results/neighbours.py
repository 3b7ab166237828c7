"""The SR of a film's nearest films in an archive (TID 1500): how near, and what is known of them.

It is apart from the SR of findings, since an archive grows: with other neighbours it is another
object. Patients of the archive are in it in no form, not even hashed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from highdicom.sr import (
    CodedConcept,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    RelationshipTypeValues,
    TextContentItem,
    UIDRefContentItem,
)

from cxrclient.dicom_results import codes as ours
from cxrclient.dicom_results.document import (
    add_comment,
    algorithm_of,
    report_of,
    source_of,
    tracked,
)
from cxrclient.dicom_results.objects import Subject
from cxrclient.dicom_results.pydicom_parts import Dataset
from cxrclient.dicom_results.words import plain

if TYPE_CHECKING:
    from cxrclient.archive import Neighbour

Group: TypeAlias = MeasurementsAndQualitativeEvaluations

_CLEAR_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")


def neighbours_of(subject: Subject, neighbours: Sequence[Neighbour]) -> Dataset:
    """Write the SR of a film's neighbours.

    Args:
        subject: the film.
        neighbours: at least one, nearest first.
    """
    groups = [_group(subject, rank, film) for rank, film in enumerate(neighbours, 1)]
    return report_of(subject, "neighbours", groups, [subject.neutral], "similar films")


def _group(subject: Subject, rank: int, film: Neighbour) -> Group:
    """TID 1501: one film of the archive."""
    measured = [Measurement(ours.DISTANCE, round(film.distance, 6), ours.NO_UNITS)]
    if film.probability is not None:
        percent = round(100 * film.probability, 2)
        measured.append(Measurement(ours.PROBABILITY, percent, ours.PERCENT))
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracked(subject, f"neighbour {rank}", f"Neighbour {rank}"),
        finding_type=ours.NEIGHBOUR,
        algorithm_id=algorithm_of(subject),
        finding_sites=[FindingSite(ours.LUNG, laterality=ours.BILATERAL)],
        measurements=measured,
        source_images=[source_of(subject)],
    )
    known = {
        ours.LABEL: film.label,
        ours.LABEL_SOURCE: film.label_source,
        ours.SITE: film.metadata.get("site"),
        ours.ARCHIVE_ID: film.id,
        ours.ARCHIVE_STUDY: film.study_uid,
        ours.ARCHIVE_SERIES: film.metadata.get("series_uid"),
    }
    for concept, value in known.items():
        if value is not None and str(value).strip():
            group[0].ContentSequence.append(_told(concept, str(value).strip()))
    add_comment(
        group,
        "A film of an archive whose embedding is near this film's, and no evidence of a finding. "
        f"{subject.ensemble.notice}",
    )
    return group


def _told(concept: CodedConcept, value: str) -> TextContentItem | UIDRefContentItem:
    """A UID that is clear is a reference; a hashed one, and any other text, is text.

    The archive keeps no SOP class, without which no image can be referred to as one.
    """
    if _CLEAR_UID.fullmatch(value) and len(value) <= 64 and concept in _UIDS:
        return UIDRefContentItem(concept, value, RelationshipTypeValues.CONTAINS)
    return TextContentItem(concept, plain(value), RelationshipTypeValues.CONTAINS)


_UIDS = (ours.ARCHIVE_ID, ours.ARCHIVE_STUDY, ours.ARCHIVE_SERIES)
