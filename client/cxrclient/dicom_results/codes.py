"""The coded concepts that objects use. Source: DICOM PS3.16, as validated (docs/adr/0026)."""

from __future__ import annotations

import re

from highdicom.sr import CodedConcept

from cxrclient.dicom_results.words import plain
from cxrclient.files import sha256_of
from cxrclient.wire import EnsembleInfo

PRIVATE = "99CXRTRITON"
"""CodingSchemeDesignator of what no list has; private ones begin with 99 (PS3.16 section 8.2)."""

IMAGING_MEASUREMENT_REPORT = CodedConcept("126000", "DCM", "Imaging Measurement Report")
XR_UNSPECIFIED = CodedConcept("43468-8", "LN", "XR unspecified body region")
LUNG = CodedConcept("39607008", "SCT", "Lung")
BILATERAL = CodedConcept("51440002", "SCT", "Bilateral")
RIGHT = CodedConcept("24028007", "SCT", "Right")
LEFT = CodedConcept("7771000", "SCT", "Left")
ANATOMY = CodedConcept("123037004", "SCT", "Anatomical Structure")
PROBABILITY = CodedConcept("122157", "DCM", "Probability")
PERCENT = CodedConcept("%", "UCUM", "Percent")
PRESENCE = CodedConcept("121052", "DCM", "Presence of property")
PRESENT = CodedConcept("121053", "DCM", "Present")
ABSENT = CodedConcept("121054", "DCM", "Absent")
COMMENT = CodedConcept("121106", "DCM", "Comment")
NETWORK = CodedConcept("123110", "DCM", "Artificial Intelligence")
AREA_SHARE = CodedConcept("LUNG_SHARE", PRIVATE, "Share of film")
NOT_ANALYSED = CodedConcept("NOT_ANALYSED", PRIVATE, "Not analysed")
NEIGHBOUR = CodedConcept("NEIGHBOUR", PRIVATE, "Similar film of an archive")
DISTANCE = CodedConcept("DISTANCE", PRIVATE, "Euclidean distance of embeddings")
NO_UNITS = CodedConcept("1", "UCUM", "no units")
LABEL = CodedConcept("LABEL", PRIVATE, "Label in the archive")
LABEL_SOURCE = CodedConcept("LABEL_SOURCE", PRIVATE, "Where the label is from")
SITE = CodedConcept("SITE", PRIVATE, "Site")
ARCHIVE_ID = CodedConcept("ARCHIVE_ID", PRIVATE, "Film in the archive")
ARCHIVE_STUDY = CodedConcept("ARCHIVE_STUDY", PRIVATE, "Study in the archive")
ARCHIVE_SERIES = CodedConcept("ARCHIVE_SERIES", PRIVATE, "Series in the archive")


def finding_of(ensemble: EnsembleInfo) -> CodedConcept:
    """What the positive class is: the ensemble's own code, else one of our own scheme."""
    told = ensemble.finding
    if told is not None:
        return CodedConcept(told.value, told.scheme, plain(told.meaning, 64))
    label = ensemble.labels[1]
    code = label.upper()
    if not re.fullmatch("[A-Z0-9_-]{1,16}", code):
        code = sha256_of(label)[:16].upper()
    return CodedConcept(code, PRIVATE, plain(label, 64))
