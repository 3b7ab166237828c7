"""What of a DICOM file travels, and what stays."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import warnings

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEGBaseline8Bit

from cxrclient.films.film import read_film
from secret_values import LEAK, SECRETS

# What the image is read by; here a secret would make it no image.
NEEDED = {"NumberOfFrames", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"}
NEEDED |= {"PhotometricInterpretation", "SpecificCharacterSet"}


def decoded(dicom: bytes) -> np.ndarray:
    """The film after modality and VOI LUT, as a viewer would show it."""
    film = pydicom.dcmread(io.BytesIO(dicom))
    return np.asarray(apply_voi_lut(apply_modality_lut(film.pixel_array, film), film))


@pytest.fixture
def film_full_of_secrets(tmp_path, write_dicom):
    """Every attribute of the dictionary that takes text, a date, a number or bytes has a secret."""
    film = pydicom.dcmread(write_dicom(tmp_path / "secrets.dcm"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tag, (vr, *_, keyword) in DicomDictionary.items():
            if vr in SECRETS and tag >> 16 > 2 and tag < 0x7FE00000 and keyword not in NEEDED:
                film.add_new(tag, vr, SECRETS[vr])
        film.BodyPartExamined = "CHEST ZORNSECRET"
        film.PatientAge = "077Y"
        film.private_block(0x0009, "ZORNSECRET", create=True).add_new(1, "LO", "ZORNSECRET")
        for element, value in ((0x10, 16), (0x11, 8)):
            film.add_new((0x6000, element), "US", value)
        film.add_new((0x6000, 0x3000), "OW", b"ZORNSECRET" + bytes(6))
        lut = pydicom.Dataset()
        lut.LUTDescriptor = [4096, 0, 16]
        lut.LUTExplanation = "ZORNSECRET"
        lut.ModalityLUTType = "ZORNSECRET"
        lut.LUTData = np.arange(4096, dtype="<u2").tobytes() + b"ZORNSECRET"
        lut["LUTData"].VR = "OW"
        film.VOILUTSequence = [lut]
        film.preamble = b"ZORNSECRET".ljust(128, b"\0")
        film.file_meta.SourceApplicationEntityTitle = "ZORNSECRET"
        film.file_meta.MediaStorageSOPInstanceUID = SECRETS["UI"]
        film.add_new(0xFFFCFFFC, "OB", b"ZORNSECRET")
        film.PixelData += b"ZORNSECRET"
        buffer = io.BytesIO()
        film.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_no_identifying_value_of_a_dicom_header_is_in_the_payload(film_full_of_secrets):
    assert len(re.findall(b"ZORNSECRET", film_full_of_secrets)) > 1000
    assert LEAK.findall(read_film(film_full_of_secrets).payload) == []


def test_the_image_of_a_film_full_of_secrets_is_what_it_was(film_full_of_secrets):
    film = pydicom.dcmread(io.BytesIO(read_film(film_full_of_secrets).payload))
    before = pydicom.dcmread(io.BytesIO(film_full_of_secrets))
    np.testing.assert_array_equal(film.pixel_array, before.pixel_array)
    assert film.BodyPartExamined == "CHEST"


def test_what_identifies_stays_at_hand_but_out_of_the_repr(tmp_path, write_dicom):
    path = write_dicom(
        tmp_path / "a.dcm",
        PatientID="ZORN-1",
        StudyInstanceUID="1.2.3",
        PatientSex="F",
        PatientAge="018M",
        SOPInstanceUID="1.2.840.99",
    )
    film = read_film(path)
    facts = (film.film_id, film.patient_id, film.study_uid, film.view, film.sex, film.age)
    assert facts == ("1.2.840.99", "ZORN-1", "1.2.3", "PA", "F", 1.5)
    assert "ZORN" not in repr(film)
    assert b"1.2.840.99" not in film.payload


@pytest.mark.parametrize(
    ("event", "offset", "days"),
    [("BASELINE", 3.5, 3.5), ("BASELINE", float("nan"), None), ("ENROLLMENT", 3.5, None)],
)
def test_days_are_those_since_the_baseline_study(event, offset, days, tmp_path, write_dicom):
    path = write_dicom(
        tmp_path / "a.dcm",
        LongitudinalTemporalOffsetFromEvent=offset,
        LongitudinalTemporalEventType=event,
    )
    film = read_film(path)
    assert film.days == days
    assert b"BASELINE" not in film.payload


@pytest.mark.parametrize(
    "name",
    [
        "RG1_UNCR.dcm",  # explicit little endian, MONOCHROME1, 15 bits
        "RG1_J2KI.dcm",  # JPEG 2000, with a comment of its encoder
        "693_UNCI.dcm",  # implicit
        "MR_small_bigendian.dcm",
        "image_dfl.dcm",  # deflated
        "MR_small_RLE.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "JPEG-LL.dcm",
        "JPEG2000.dcm",
        "mlut_18.dcm",  # modality LUT sequence
        "vlut_04.dcm",  # VOI LUT sequence
        "CT_small.dcm",  # signed, with padding value and rescale
    ],
)
def test_a_film_decodes_to_the_same_values_before_and_after(name, real_film):
    before = real_film(name).read_bytes()
    after = read_film(before).payload
    np.testing.assert_array_equal(decoded(before), decoded(after))


def test_the_server_sees_the_same_film_before_and_after(real_film):
    from cxrexport.preprocessing import decode_film

    before = real_film("RG1_UNCR.dcm").read_bytes()
    was, now = decode_film(before), decode_film(read_film(before).payload)
    np.testing.assert_array_equal(was.pixels, now.pixels)
    assert was.header_flags == now.header_flags


def test_uncompressed_pixels_travel_untouched(real_film):
    path = real_film("RG1_UNCR.dcm")
    pixels = pydicom.dcmread(path).PixelData
    assert read_film(path).payload.endswith(pixels)


@pytest.mark.parametrize("kind", ["<u2", "<i2", ">u2", ">i2", "u1"])
@pytest.mark.parametrize("low_bit", [0, 2])
def test_overlays_in_unused_bits_do_not_travel_and_samples_stay(
    kind, low_bit, tmp_path, write_dicom
):
    dtype, random = np.dtype(kind), np.random.default_rng(3)
    word = 8 * dtype.itemsize
    stored = word - 4 if low_bit else word - 3
    signed = dtype.kind == "i"
    low = -(1 << (stored - 1)) if signed else 0
    samples = random.integers(low, low + (1 << stored), (40, 30)) << low_bit
    used = ((1 << stored) - 1) << low_bit
    overlay = random.integers(0, 1 << word, samples.shape) & ~used
    before = ((samples & used) | overlay).astype(f"u{dtype.itemsize}")
    clean = samples.astype(f"{dtype.kind}{dtype.itemsize}")
    path = write_dicom(
        tmp_path / "a.dcm",
        before,
        BitsStored=stored,
        HighBit=stored - 1 + low_bit,
        PixelRepresentation=int(signed),
    )
    if kind[0] == ">":
        film = pydicom.dcmread(path)
        film.PixelData = before.byteswap().tobytes()
        film.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        pydicom.dcmwrite(path, film, implicit_vr=False, little_endian=False)
    payload = read_film(path).payload
    assert pydicom.dcmread(io.BytesIO(payload)).PixelData == clean.astype(dtype).tobytes()


def test_signed_samples_without_overlays_travel_untouched(tmp_path, write_dicom):
    """Whether a writer carries the sign to the top of the word or not."""
    samples = np.arange(-600, 600, dtype=np.int16).reshape(40, 30)
    for pixels in (samples, samples & 0x0FFF):
        path = write_dicom(tmp_path / "a.dcm", pixels, PixelRepresentation=1)
        assert read_film(path).payload.endswith(pixels.tobytes())


@pytest.mark.parametrize("columns", [30, 31])
def test_bytes_behind_the_last_pixel_do_not_travel(columns, tmp_path, write_dicom):
    pixels = np.arange(31 * columns, dtype=np.uint8).reshape(31, columns)
    data = pixels.tobytes() + b"ZORNSECRET" + b"Z" * (pixels.size % 2)
    path = write_dicom(tmp_path / "a.dcm", pixels, BitsStored=8, HighBit=7, PixelData=data)
    payload = read_film(path).payload
    assert pydicom.dcmread(io.BytesIO(payload)).PixelData == pixels.tobytes() + bytes(
        pixels.size % 2
    )


def test_a_comment_inside_an_encapsulated_jpeg_does_not_travel(tmp_path, drawn_film, write_dicom):
    pixels = (drawn_film() >> 4).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    comment = b"\xff\xfe" + struct.pack(">H", 12) + b"ZORNSECRET"
    jpeg = jpeg[:2] + comment + jpeg[2:] + b"\0" * (len(jpeg) % 2)
    half = len(jpeg) // 4 * 2  # the comment's stream is cut into two fragments
    film = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", pixels))
    film.PixelData = pydicom.encaps.encapsulate([jpeg[:half] + jpeg[half:]], fragments_per_frame=2)
    film["PixelData"].VR = "OB"
    film["PixelData"].is_undefined_length = True
    film.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    film.save_as(tmp_path / "b.dcm")
    before = (tmp_path / "b.dcm").read_bytes()
    after = read_film(before).payload
    assert b"ZORNSECRET" in before
    assert LEAK.search(after) is None
    np.testing.assert_array_equal(decoded(before), decoded(after))


def test_a_comment_inside_jpeg_2000_does_not_travel(real_film):
    before = real_film("RG1_J2KI.dcm").read_bytes()
    assert b"Kakadu" in before
    assert b"Kakadu" not in read_film(before).payload


@pytest.mark.parametrize("cut", [132, 0])
def test_dicom_without_preamble_or_meta_is_read(cut, real_film):
    data = real_film("RG1_UNCR.dcm").read_bytes()
    start = 132 if cut else data.index(b"\x08\x00\x05\x00CS")
    film = read_film(data[start:])
    np.testing.assert_array_equal(decoded(film.payload), decoded(data))
    assert film.film_id == read_film(data).film_id


def test_the_id_of_a_film_without_uid_is_the_digest_of_its_file(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "a.dcm", SOPInstanceUID=None)
    assert read_film(path).film_id == hashlib.sha256(path.read_bytes()).hexdigest()
