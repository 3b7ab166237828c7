"""Every file of pydicom and of pydicom-data: a film, or a stable code."""

from __future__ import annotations

import fnmatch
import io
import re
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.pixels import apply_modality_lut, apply_voi_lut

import cxrclient.errors
import cxrclient.films.film
from cxrexport.preprocessing import DecodedFilm, decode_film

data_store = pytest.importorskip("data_store", reason="pydicom-data is not installed")

DATA = Path(pydicom.data.__file__).parent
FOLDERS = [DATA / "test_files", DATA / "charset_files", Path(data_store.__file__).parent]
FILES = sorted(path for folder in FOLDERS for path in folder.rglob("*") if path.is_file())
# Of a study of 60 objects without pixels a few will do.
FILES = [
    p
    for p in FILES
    if p.suffix not in {".py", ".pyc"} and not re.fullmatch(r"IM0000(0[A-Z]|1.)", p.name)
]

# The first pattern that fits a name says what becomes of it.
EXPECTED = {
    "NOT_READABLE": """
        README* *.txt *.json *.dump *.icc *.gz *.sha256 *.cfg
        MR_truncated.dcm rtplan_truncated.dcm
        JPEG2000-embedded-sequence-delimiter.dcm
        no_meta.dcm meta_missing_tsyntax.dcm nested_priv_SQ.dcm badVR.dcm
        liver_1frame.dcm liver_expb_1frame.dcm
        rtdose_1frame.dcm rtdose_expb_1frame.dcm rtdose_rle_1frame.dcm
    """,  # no DICOM; cut off; not the size it says; damaged; 1 bit; 32 bits
    "NO_PIXELS": """
        DICOMDIR* IM0000* ExplVR_*NoMeta.dcm UN_sequence.dcm empty_charset_LEI.dcm
        no_meta_group_length.dcm priv_SQ.dcm report*.dcm rtplan.dcm rtstruct.dcm test-SR.dcm
        waveform_ecg.dcm chrJap*.dcm chrKorean*.dcm chrSQ*.dcm
    """,
    "MULTI_FRAME": """
        *_2frame.dcm color3d_*.dcm eCT_*.dcm emri_*.dcm examples_ybr_color.dcm liver.dcm
        liver_expb.dcm rtdose*.dcm
    """,
    "COLOUR": """
        ExplVR_BigEnd.dcm GDCMJ2K_TextGBR.dcm OBXXXX1A*.dcm OT-PAL-8-face.dcm SC_*.dcm US1_*.dcm
        color-p?.dcm examples_jpeg2k.dcm examples_palette.dcm examples_rgb_color.dcm
        gdcm-US-ALOKA-16*.dcm
    """,
    "ok": """
        [0-9]* CT_small.dcm J2K_pixelrep_mismatch.dcm JPEG-LL.dcm JPEG-lossy.dcm JPEG2000*.dcm
        JPEGLSNearLossless_*.dcm JPGExtended.dcm JPGLosslessP14SV1_1s_1f_8b.dcm MR*.dcm RG*.dcm
        bad_sequence.dcm examples_overlay.dcm explicit_VR-UN.dcm image_dfl.dcm mlut_18.dcm
        vlut_04.dcm chr*.dcm
    """,
}
# pydicom has no decoder of 12-bit extended JPEG that is not under the GPL.
NOT_BY_PYDICOM = {"JPEG-lossy.dcm", "JPGExtended.dcm"}
SMALL_BYTES = 300_000  # larger ones have small twins, or a test of their own (RG1)


def expected(name: str) -> str:
    for code, patterns in EXPECTED.items():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns.split()):
            return code
    raise AssertionError(f"{name} is new: say in EXPECTED what becomes of it")


def outcome(encoded: bytes) -> tuple[str, DecodedFilm | None]:
    """What becomes of a file on its way from the client's disk through preprocessing."""
    try:
        return "ok", decode_film(cxrclient.films.film.read_film(encoded).payload)
    except cxrclient.errors.FilmError as error:
        return error.code, None


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of each oddity that it reads past
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_a_film_or_ends_with_its_code(path: Path) -> None:
    encoded = path.read_bytes()
    code, film = outcome(encoded)
    assert code == expected(path.name)
    if film is None or len(encoded) > SMALL_BYTES:
        return
    before = decode_film(encoded)
    np.testing.assert_array_equal(before.pixels, film.pixels)
    np.testing.assert_array_equal(before.padding, film.padding)
    if path.name not in NOT_BY_PYDICOM:
        looks_as_pydicom_shows_it(film, encoded)


def looks_as_pydicom_shows_it(film: DecodedFilm, encoded: bytes) -> None:
    """The independent implementation: pydicom's own decoding, modality LUT, VOI LUT, polarity."""
    dataset = pydicom.dcmread(io.BytesIO(encoded))
    seen = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(float)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        seen = -seen
    part = np.ones(seen.shape, bool) if film.padding is None else ~film.padding
    if np.ptp(seen[part]) == 0:  # a window that shows nothing, which preprocessing passes over
        assert "WINDOW_UNUSABLE" in film.header_flags
        return
    # Preprocessing's windows end at whole stored values; the narrowest here have some 250 of them.
    np.testing.assert_allclose(spread(film.pixels, part), spread(seen, part), atol=4e-3)


def spread(values: np.ndarray, part: np.ndarray) -> np.ndarray:
    found = values[part].astype(float)
    return (found - found.min()) / np.ptp(found)
