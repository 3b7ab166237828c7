"""The words that code strings may bring to a server.

A code string has the letters of a name: `DOE JOHN` is a valid one. So a word travels when it is
here, and not because it looks harmless.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Source: DICOM PS3.3 C.7.3.1.1.1.
MODALITIES = _words("""
    AR AU BDUS BI BMD CR CT DG DMS DOC DR DX ECG EPS ES FID GM HC HD IO IVOCT IVUS KER KO LEN LS MG
    MR NM OAM OCT OP OPT OPV OSS OT PA PLAN PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTPLAN RTRECORD
    RTSTRUCT RWV SEG SM SMR SR SRF TG US VA XA XC
""")
# Source: DICOM PS3.3 C.7.6.3.1.2, with its retired ones.
PHOTOMETRIC_INTERPRETATIONS = _words("""
    MONOCHROME1 MONOCHROME2 RGB ARGB CMYK HSV XYB YBR_FULL YBR_FULL_422 YBR_PARTIAL_422
    YBR_PARTIAL_420 YBR_ICT YBR_RCT
""") | {"PALETTE COLOR"}
# Source: DICOM PS3.3 C.8.1.1.1 and C.8.11.5.1 (ViewPosition), and what consoles write beside them.
VIEWS = _words("""
    AP PA LL RL RLD LLD RLO LLO LAT LATERAL LATL LATR LLAT RLAT LEFT RIGHT OBL OBLIQUE RAO LAO RPO
    LPO DECUB DECUBITUS SUPINE PRONE ERECT UPRIGHT STANDING SITTING SEMIERECT FRONTAL AXIAL LORDOTIC
    PORTABLE PORT BEDSIDE
""")
# Source: DICOM PS3.16 annex L, the parts that radiographs are taken of; and consoles' words.
BODY_PARTS = VIEWS | _words("""
    ABDOMEN ABDOMENPELVIS ANKLE AORTA ARM BACK BLADDER BRAIN BREAST BRONCHUS CALCANEUS CHEST
    CHESTABDOMEN CHESTABDPELVIS CLAVICLE COCCYX COLON CSPINE CTSPINE ELBOW ESOPHAGUS EXTREMITY EYE
    FACE FEMUR FINGER FOOT FOREARM GALLBLADDER HAND HEAD HEADNECK HEART HIP HUMERUS JAW KIDNEY KNEE
    LEG LIVER LSPINE LSSPINE LUNG LUNGS MANDIBLE MAXILLA MEDIASTINUM NECK NECKCHEST NOSE ORBIT
    PANCREAS PATELLA PELVIS RADIUS RIB RIBS SCAPULA SHOULDER SINUS SKULL SPINE SSPINE STERNUM
    STOMACH TEETH THIGH THORAX THUMB TIBIA TLSPINE TOE TOOTH TRACHEA TSPINE ULNA WHOLEBODY WRIST
    ZYGOMA
""")


def known_words(text: str, vocabulary: frozenset[str]) -> str:
    """The text, or of its words those in the vocabulary, in upper case; empty if there is none.

    Args:
        text: a code string; only its first value counts.
        vocabulary: upper-case values.
    """
    value = text.split("\\")[0].strip().upper()
    for whole in (value, re.sub(r"[^A-Z0-9]+", "", value)):  # WHOLE BODY is WHOLEBODY
        if whole in vocabulary:
            return whole
    return " ".join(word for word in re.split(r"[^A-Z0-9]+", value) if word in vocabulary)[:16]
