"""What a header says of its film, in codes that stay the same."""

from __future__ import annotations

import re
from typing import Any

from cxrclient.films import JPEG_LOSSY

_RADIOGRAPHY = {"CR", "DX", "RG", "DR"}
# Under these radiographs travel too: scanned films, fluoroscopes' single exposures, conversions.
_MAY_HOLD_A_RADIOGRAPH = _RADIOGRAPHY | {"OT", "SC", "RF", "XA", "HC"}
_CHEST = {"CHEST", "THORAX", "LUNG", "LUNGS", "RIBS", "HEART"}
_LATERAL = {"LL", "RL", "LATERAL", "LAT", "LLAT", "RLAT", "LLO", "RLO"}

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def is_inverse(header: Any) -> bool:
    """Tell whether small values are bright; said twice it is still turned once.

    Source: DICOM PS3.3 C.7.6.3.1.2 and C.11.6.1.1.2: an object of MONOCHROME1 has the Presentation
    LUT Shape INVERSE, so the two are one statement.
    """
    return (
        str(header.get("PhotometricInterpretation")) == "MONOCHROME1"
        or str(header.get("PresentationLUTShape")) == "INVERSE"
    )


def header_flags(header: Any) -> tuple[str, ...]:
    """Say what the header says, in codes; an empty or unknown attribute says nothing.

    POLARITY_TURNED    small values were bright (MONOCHROME1, or INVERSE)
    PADDED             some values are named as padding, no part of the film
    LOSSY_COMPRESSED   lossy now or once
    SECONDARY_CAPTURE  a screen shot, a scan or a converted film
    FOR_PROCESSING     the detector's raw values, not meant to be looked at
    MODALITY_OTHER     not CR, DX, RG or DR
    BODY_PART_OTHER    not the chest
    VIEW_LATERAL       a lateral or oblique view
    NO_RADIOGRAPH      a modality that is never one, such as CT, MR or US
    BURNED_IN_ANNOTATION  writing that could name the patient is in the picture
    """
    modality = str(header.get("Modality") or "").strip().upper()
    body_part = str(header.get("BodyPartExamined") or "").strip().upper()
    syntax = str(header.file_meta.get("TransferSyntaxUID"))
    lossy = str(header.get("LossyImageCompression")) == "01" or syntax in JPEG_LOSSY
    facts = {
        "POLARITY_TURNED": is_inverse(header),
        "PADDED": isinstance(header.get("PixelPaddingValue"), int),
        "LOSSY_COMPRESSED": lossy,
        "SECONDARY_CAPTURE": str(header.get("SOPClassUID") or "").startswith(_SECONDARY_CAPTURE),
        "FOR_PROCESSING": str(header.get("PresentationIntentType")) == "FOR PROCESSING",
        "MODALITY_OTHER": bool(modality) and modality not in _RADIOGRAPHY,
        "BODY_PART_OTHER": bool(body_part) and _CHEST.isdisjoint(re.split(r"[^A-Z]+", body_part)),
        "VIEW_LATERAL": str(header.get("ViewPosition") or "").strip().upper() in _LATERAL,
        "NO_RADIOGRAPH": bool(modality) and modality not in _MAY_HOLD_A_RADIOGRAPH,
        "BURNED_IN_ANNOTATION": str(header.get("BurnedInAnnotation")).strip().upper() == "YES",
    }
    return tuple(code for code, holds in facts.items() if holds)
