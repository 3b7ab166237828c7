"""The Comprehensive 3D SR (TID 1500) of a film: what was found, how sure, by what, on what."""

from __future__ import annotations

from typing import TypeAlias

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegmentationFrame,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForSegmentation,
    TextContentItem,
    TrackingIdentifier,
)

from cxrclient.dicom_results import codes as ours
from cxrclient.dicom_results.objects import MANUFACTURER, Subject, device_uid, software_version
from cxrclient.dicom_results.pydicom_parts import Dataset, codes
from cxrclient.dicom_results.regions import judged_region, outlined_region
from cxrclient.dicom_results.segmentation import Segment, Segments
from cxrclient.dicom_results.study import ORDINARY
from cxrclient.dicom_results.uids import uid_of
from cxrclient.dicom_results.words import plain
from cxrclient.errors import FilmError
from cxrclient.pages import polygon_area
from cxrclient.wire import Prediction

Group: TypeAlias = (
    MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations
)


def document_of(subject: Subject, lungs: Segments | None) -> Dataset:
    """Write the SR of a film.

    Args:
        subject: a film that was turned away gets one too, which says why.
        lungs: its segmentation, to which the SR refers; None where there is none.

    Returns:
        A Comprehensive 3D SR, complete, unverified and preliminary.
    """
    result, evidence = subject.result, [subject.neutral]
    if isinstance(result, FilmError):
        groups: list[Group] = [_not_analysed(subject, result)]
    else:
        groups = [_finding(subject, result)]
        if lungs is not None:
            evidence.append(lungs.dataset)
            groups += _lungs(subject, result, lungs)
    return report_of(subject, "sr", groups, evidence, "findings")


def report_of(
    subject: Subject, kind: str, groups: list[Group], evidence: list[Dataset], what: str
) -> Dataset:
    """Write an SR of measurement groups (TID 1500).

    Args:
        subject: whose it is.
        kind: of object.
        groups: at least one.
        evidence: headers of the objects that the groups refer to.
        what: the series is of, in a word.

    Returns:
        A Comprehensive 3D SR, complete, unverified and preliminary.
    """
    content = MeasurementReport(
        observation_context=observer_of(subject),
        procedure_reported=ours.XR_UNSPECIFIED,
        imaging_measurements=groups,
        title=ours.IMAGING_MEASUREMENT_REPORT,
    )
    document = Comprehensive3DSR(
        evidence=evidence,
        content=content,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=f"cxr-triton: {what}, research use only",
        **subject.made_by(kind),
    )
    return subject.finish(kind, document)


def observer_of(subject: Subject) -> ObservationContext:
    """Say what observed: the model, as a device."""
    digest = subject.ensemble.digest
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=device_uid(subject.ensemble),
                name=MANUFACTURER,
                manufacturer_name=MANUFACTURER,
                model_name=subject.name,
                serial_number=digest[:16],
            ),
        )
    )


def _algorithm_words(subject: Subject) -> list[str]:
    ensemble = subject.ensemble
    point = ensemble.operating_point
    return [
        f"threshold={ensemble.threshold:.6g}",
        f"operating point={point.name if point else 'plain threshold'}",
        f"calibrated={'yes' if ensemble.calibrated else 'no'}",
        f"software={MANUFACTURER} {software_version()}",
        f"notice={ensemble.notice}",
    ]


def algorithm_of(subject: Subject) -> AlgorithmIdentification:
    """TID 4019: the model, with its digest, threshold and notice."""
    return AlgorithmIdentification(
        name=subject.name,
        version=subject.ensemble.digest,
        parameters=[plain(words) for words in _algorithm_words(subject)],
        family=ours.NETWORK,
    )


def _part_of_model(subject: Subject, name: str) -> AlgorithmIdentification:
    return AlgorithmIdentification(name=name, version=subject.ensemble.digest, family=ours.NETWORK)


def _finding(subject: Subject, prediction: Prediction) -> Group:
    """TID 1501: the finding, its place, how probable, and on which side of the operating point."""
    ensemble, above = subject.ensemble, prediction.label == subject.ensemble.labels[1]
    finding = ours.finding_of(ensemble)
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracked(subject, "finding", "Finding"),
        finding_type=finding,
        algorithm_id=algorithm_of(subject),
        finding_sites=[FindingSite(ours.LUNG, laterality=ours.BILATERAL)],
        measurements=[
            _probability(subject, prediction, member, percent)
            for member, percent in _percents(prediction).items()
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(ours.PRESENCE, ours.PRESENT if above else ours.ABSENT)
        ],
        source_images=[source_of(subject)],
    )
    # OHIF 3.12 shows the first five of comments and numbers, comments first: so no more than three.
    point = f" ({ensemble.operating_point.name})" if ensemble.operating_point else ""
    add_comment(
        group,
        f"{finding.meaning}: {'above' if above else 'not above'} the operating point of "
        f"{100 * ensemble.threshold:.2f} %{point}",
    )
    add_comment(group, ensemble.notice)
    if prediction.warnings:
        sentences = (f"{each}: {ensemble.admission.sentence(each)}" for each in prediction.warnings)
        add_comment(group, " ".join(sentences))
    return group


def _not_analysed(subject: Subject, error: FilmError) -> Group:
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracked(subject, "finding", "Not analysed"),
        algorithm_id=algorithm_of(subject),
        finding_sites=[FindingSite(ours.LUNG, laterality=ours.BILATERAL)],
        qualitative_evaluations=[
            QualitativeEvaluation(
                ours.NOT_ANALYSED, CodedConcept(error.code, ours.PRIVATE, plain(error.code, 64))
            )
        ],
        source_images=[source_of(subject)],
    )
    add_comment(group, f"Not analysed, because: {error.message} ({error.code})")
    add_comment(group, subject.ensemble.notice)
    return group


def _lungs(subject: Subject, prediction: Prediction, lungs: Segments) -> list[Group]:
    """TID 1410, one for each segment: which part of the film it is; TID 1501: its outlines.

    A group's ROI is either a segment or an outline. OHIF 3.12 opens no SR that has a group without
    coordinates, and takes groups of the same tracking UID for one.
    """
    film = SourceImageForSegmentation(ORDINARY, subject.header.sop_uid)
    groups: list[Group] = []
    for number, segment in enumerate(lungs.segments, 1):
        region = ReferencedSegmentationFrame(
            sop_class_uid=lungs.dataset.SOPClassUID,
            sop_instance_uid=lungs.dataset.SOPInstanceUID,
            frame_number=1,
            segment_number=number,
            source_image=film,
        )
        # Both of them are an error to validators: the segment tells the frame.
        del region[0].ReferencedSOPSequence[0].ReferencedFrameNumber
        outlined = MeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracked(subject, f"lung {number}", segment.label),
            finding_type=ours.LUNG,
            finding_sites=[FindingSite(ours.LUNG, laterality=segment.side)],
            measurements=_shares(subject, prediction, segment),
        )
        add_comment(outlined, segment.label)
        groups += [
            PlanarROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=tracked(subject, f"lung {number}", segment.label),
                referenced_segment=region,
                finding_category=ours.ANATOMY,
                finding_type=ours.LUNG,
                finding_sites=[FindingSite(ours.LUNG, laterality=segment.side)],
                algorithm_id=_part_of_model(subject, subject.name),
            ),
            outlined,
        ]
    return groups


def _shares(subject: Subject, prediction: Prediction, segment: Segment) -> list[Measurement]:
    """A segment's share of the film, parted among its outlines by what they enclose."""
    # One that lies beside the film has no area left on it.
    outlines = [outline for outline in segment.outlines if polygon_area(outline) > 0]
    areas = [polygon_area(outline) for outline in outlines]
    return [
        Measurement(
            ours.AREA_SHARE,
            round(100 * segment.share * area / sum(areas), 2),
            ours.PERCENT,
            referenced_coordinates=[outlined_region(subject, prediction, outline)],
        )
        for area, outline in zip(areas, outlines, strict=True)
    ]


def _percents(prediction: Prediction) -> dict[str | None, float]:
    """The ensemble's probability under None, and each member's; in per cent with two decimals."""
    percents: dict[str | None, float] = {None: round(100 * prediction.probability, 2)}
    percents.update((name, round(100 * each, 2)) for name, each in prediction.members.items())
    return percents


def _probability(
    subject: Subject, prediction: Prediction, member: str | None, percent: float
) -> Measurement:
    """TID 300; the ensemble's is of what it saw, a member's names the member as its algorithm."""
    of_member = member and _part_of_model(subject, plain(member, 64))
    return Measurement(
        ours.PROBABILITY,
        percent,
        ours.PERCENT,
        algorithm_id=of_member or None,
        referenced_coordinates=None if of_member else [judged_region(subject, prediction)],
    )


def tracked(subject: Subject, what: str, words: str) -> TrackingIdentifier:
    """Name a group: the same one each time for the same film and model."""
    uid = uid_of("tracking", subject.header.sop_uid, subject.ensemble.digest, what)
    return TrackingIdentifier(uid=uid, identifier=words)


def source_of(subject: Subject) -> SourceImageForMeasurementGroup:
    """Refer to the film."""
    return SourceImageForMeasurementGroup(ORDINARY, subject.header.sop_uid)


def add_comment(group: Group, words: str) -> None:
    """Add a sentence to a group."""
    group[0].ContentSequence.append(
        TextContentItem(ours.COMMENT, plain(words), RelationshipTypeValues.CONTAINS)
    )
