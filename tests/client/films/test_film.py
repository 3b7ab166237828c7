"""Films to payloads: what travels, what stays, what is refused."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.datadict import DicomDictionary
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEGBaseline8Bit

from cxrclient.errors import FilmError, UsageError
from cxrclient.films.film import read_film
from cxrclient.films.kinds import file_kind

# One secret for each kind of value; none may be in a payload, whatever attribute holds it.
SECRETS = {
    **dict.fromkeys(("LO", "LT", "PN", "SH", "ST", "UC", "UT"), "ZORNSECRET"),
    **dict.fromkeys(("AE", "CS"), "ZORNSECRET"),
    "UR": "http://zornsecret.example",
    "UI": "1.2.826.0.1.777777",
    "DA": "19370214",
    "DT": "19370214",
    "TM": "123457.77777",
    "AS": "077Y",
    "DS": "777777.5",
    "IS": "77777777",
    "OB": b"ZORNSECRET",
    "UN": b"ZORNSECRET",
}
LEAK = re.compile(rb"zornsecret|777777|19370214|077Y", re.IGNORECASE)

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


@pytest.fixture
def png_with_secrets(drawn_film):
    info = PngInfo()
    info.add_text("Patient", "ZORNSECRET")
    info.add_itxt("Comment", "ZORNSECRET")
    exif = Image.Exif()
    exif[0x010E] = "ZORNSECRET"
    buffer = io.BytesIO()
    Image.fromarray(drawn_film()).save(buffer, "PNG", pnginfo=info, exif=exif)
    return buffer.getvalue() + b"ZORNSECRET"


@pytest.fixture
def jpeg_with_secrets(drawn_film):
    exif = Image.Exif()
    exif[0x010E] = "ZORNSECRET"
    buffer = io.BytesIO()
    image = Image.fromarray((drawn_film() >> 4).astype(np.uint8))
    image.save(buffer, "JPEG", exif=exif, comment=b"ZORNSECRET", icc_profile=b"ZORNSECRET")
    return buffer.getvalue() + b"ZORNSECRET"


@pytest.mark.parametrize("fixture", ["png_with_secrets", "jpeg_with_secrets"])
def test_raster_metadata_stays_and_the_pixels_are_the_same(fixture, request):
    before = request.getfixturevalue(fixture)
    after = read_film(before).payload
    assert len(LEAK.findall(before)) >= 4
    assert LEAK.search(after) is None
    was, now = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        for data in (before, after)
    )
    np.testing.assert_array_equal(was, now)


def test_an_adobe_marker_keeps_a_colour_jpeg_in_its_colours(drawn_film):
    grey = (drawn_film() >> 4).astype(np.uint8)
    buffer = io.BytesIO()
    rgb = Image.merge("RGB", [Image.fromarray(np.roll(grey, n * 40, axis=1)) for n in range(3)])
    rgb.save(buffer, "JPEG", keep_rgb=True)
    before, after = buffer.getvalue(), read_film(buffer.getvalue()).payload
    np.testing.assert_array_equal(
        *(cv2.imdecode(np.frombuffer(d, np.uint8), cv2.IMREAD_COLOR) for d in (before, after))
    )


@pytest.fixture
def adobe_rgb_jpeg(drawn_film):
    """A grey film as RGB, components 1, 2, 3: only its Adobe segment says that it is not YCbCr."""
    grey = Image.fromarray((drawn_film() >> 4).astype(np.uint8))
    buffer = io.BytesIO()
    Image.merge("RGB", [grey] * 3).save(buffer, "JPEG", keep_rgb=True)
    jpeg = bytearray(buffer.getvalue())
    for marker, first in ((b"\xff\xc0", 10), (b"\xff\xda", 5)):
        step = 3 if marker == b"\xff\xc0" else 2
        start = jpeg.index(marker) + first
        assert jpeg[start : start + 3 * step : step] == b"RGB"
        jpeg[start : start + 3 * step : step] = b"\1\2\3"
    adobe = jpeg.index(b"\xff\xee\x00\x0eAdobe")
    assert jpeg[adobe + 15] == 0
    jpeg[adobe + 9 : adobe + 15] = b"SECRET"
    return bytes(jpeg)


def test_an_adobe_segment_keeps_its_transform_and_nothing_else(adobe_rgb_jpeg):
    payload = read_film(adobe_rgb_jpeg).payload
    was, now = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        for data in (adobe_rgb_jpeg, payload)
    )
    assert np.ptp(was.astype(int), axis=2).max() == 0
    np.testing.assert_array_equal(was, now)
    assert b"SECRET" in adobe_rgb_jpeg
    assert b"SECRET" not in payload


def test_an_adobe_segment_in_dicom_keeps_its_transform_and_nothing_else(
    adobe_rgb_jpeg, tmp_path, write_dicom
):
    film = pydicom.dcmread(write_dicom(tmp_path / "a.dcm"))
    film.PixelData = pydicom.encaps.encapsulate([adobe_rgb_jpeg])
    film["PixelData"].is_undefined_length = True
    film.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    film.save_as(tmp_path / "b.dcm")
    sent = pydicom.dcmread(io.BytesIO(read_film(tmp_path / "b.dcm").payload)).PixelData
    jpeg = next(pydicom.encaps.generate_frames(sent, number_of_frames=1))
    assert b"SECRET" not in jpeg
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert np.ptp(grey.astype(int), axis=2).max() == 0


def test_an_animated_png_is_several_frames(drawn_film):
    frames = [Image.fromarray((drawn_film(n) >> 4).astype(np.uint8)) for n in range(2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(FilmError) as error:
        read_film(buffer.getvalue())
    assert (error.value.code, error.value.status) == ("MULTI_FRAME", "rejected")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_film_may_be_any_kind_of_bytes(kind, png_with_secrets):
    film = read_film(kind(png_with_secrets))
    assert (film.payload, film.path) == (read_film(png_with_secrets).payload, None)


@pytest.mark.parametrize("what", [None, 7, [b"ZORNSECRET"], io.BytesIO(b"ZORNSECRET")])
def test_what_is_neither_path_nor_bytes_is_wrong_usage_and_not_quoted(what):
    with pytest.raises(UsageError, match="a path or the bytes") as error:
        read_film(what)
    assert LEAK.search(str(error.value).encode()) is None


@pytest.mark.parametrize("data", [b"", b"hello\n", b"GIF89a" + bytes(200), b"\x08\x00", bytes(200)])
def test_what_is_no_film_is_rejected_unsent(data):
    with pytest.raises(FilmError) as error:
        read_film(data)
    assert (error.value.code, error.value.status) == ("NOT_READABLE", "rejected")
    assert "as DICOM, PNG or JPEG" in error.value.message
    assert not error.value.retriable


@pytest.mark.parametrize("kind", ["RG1_UNCR.dcm", "RG1_J2KI.dcm", "JPEG-LL.dcm", "png", "jpeg"])
def test_a_truncated_file_is_rejected_unsent(kind, request, real_film):
    if kind in ("png", "jpeg"):
        data = request.getfixturevalue(f"{kind}_with_secrets").removesuffix(b"ZORNSECRET")
    else:
        data = real_film(kind).read_bytes()
    with pytest.raises(FilmError, match=r"ends") as error:
        read_film(data[: len(data) * 2 // 3])
    assert (error.value.code, error.value.status) == ("NOT_READABLE", "rejected")


@pytest.mark.parametrize("kind", ["RG1_UNCR.dcm", "MR_small_implicit.dcm"])
def test_a_file_that_is_cut_within_its_header_ends_too_early(kind, real_film):
    data = real_film(kind).read_bytes()
    header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    raw = [header.get_item(tag) for tag in sorted(header.keys()) if tag.group == 0x0028]
    for end in {e.value_tell - 3 for e in raw} | {e.value_tell + e.length - 1 for e in raw}:
        with pytest.raises(FilmError, match="ends too early"):
            read_film(data[:end])


def test_an_object_without_pixels_is_rejected_unsent(tmp_path, write_dicom):
    with pytest.raises(FilmError) as error:
        read_film(write_dicom(tmp_path / "a.dcm", PixelData=None))
    assert (error.value.code, error.value.status) == ("NO_PIXELS", "rejected")


def test_an_object_of_several_frames_is_rejected_unsent(tmp_path, write_dicom, drawn_film):
    frames = np.concatenate([drawn_film(), drawn_film()])
    path = write_dicom(tmp_path / "a.dcm", frames, Rows=240, NumberOfFrames=2)
    with pytest.raises(FilmError) as error:
        read_film(path)
    assert (error.value.code, error.value.status) == ("MULTI_FRAME", "rejected")


def test_a_video_is_rejected_unsent(tmp_path, write_dicom):
    film = pydicom.dcmread(write_dicom(tmp_path / "a.dcm"))
    film.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    film.PixelData = pydicom.encaps.encapsulate([b"\0\0\1\xb3" * 4])
    film["PixelData"].is_undefined_length = True
    film.save_as(tmp_path / "b.dcm")
    with pytest.raises(FilmError, match="transfer syntax"):
        read_film(tmp_path / "b.dcm")


def test_a_deflated_bomb_is_too_large(tmp_path, write_dicom, monkeypatch):
    film = pydicom.dcmread(write_dicom(tmp_path / "a.dcm"))
    film.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    film.save_as(tmp_path / "b.dcm")
    monkeypatch.setattr("cxrclient.films.dicom_file.MAX_INFLATED_BYTES", 10_000)
    with pytest.raises(FilmError) as error:
        read_film(tmp_path / "b.dcm")
    assert error.value.code == "TOO_LARGE"


@pytest.mark.parametrize("what", ["missing.dcm", "folder", "nul\0.dcm", "loop", "x" * 300])
def test_a_path_that_cannot_be_read_is_failed_not_rejected(what, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    path = str(tmp_path / what)
    with pytest.raises(FilmError) as error:
        read_film(path)
    assert (error.value.code, error.value.status) == ("FILE_UNREADABLE", "failed")
    assert error.value.path == path


def test_a_file_larger_than_any_film_is_not_read(tmp_path):
    path = tmp_path / "huge.dcm"
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(FilmError) as error:
        read_film(path)
    assert (error.value.code, error.value.status) == ("TOO_LARGE", "rejected")


@pytest.fixture(scope="module")
def small_films(tmp_path_factory, drawn_film, write_dicom):
    """A DICOM, a PNG, a JPEG and two encapsulated streams, small enough to damage often."""
    folder = tmp_path_factory.mktemp("small")
    pixels = drawn_film(rows=64, columns=64)
    path = write_dicom(folder / "a.dcm", pixels, WindowCenter="1000", WindowWidth="400")
    films = [path.read_bytes(), cv2.imencode(".png", pixels)[1].tobytes()]
    films.append(cv2.imencode(".jpg", (pixels >> 4).astype(np.uint8))[1].tobytes())
    for syntax in (pydicom.uid.JPEG2000Lossless, pydicom.uid.JPEGLSLossless):
        film = pydicom.dcmread(path)
        film.compress(syntax)
        film.save_as(folder / "b.dcm")
        films.append((folder / "b.dcm").read_bytes())
    return films


@settings(
    max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(which=st.integers(0, 4), data=st.data())
def test_a_damaged_film_is_sent_or_refused_but_never_a_crash(which, data, small_films):
    film = bytearray(small_films[which])
    for _ in range(data.draw(st.integers(1, 4))):
        film[data.draw(st.integers(0, len(film) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(film)))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            assert read_film(bytes(film[:end])).payload
        except FilmError as error:
            assert error.code in {"NOT_READABLE", "NO_PIXELS", "TOO_LARGE", "MULTI_FRAME"}  # noqa: PT017
    assert said == []  # a warning of the parser may quote the header


def test_the_payload_of_a_png_has_no_chunk_but_the_image(png_with_secrets):
    payload = read_film(png_with_secrets).payload
    position, kinds = 8, []
    while position < len(payload):
        length, kind = struct.unpack_from(">I4s", payload, position)
        body = payload[position + 4 : position + 8 + length]
        assert zlib.crc32(body) == int.from_bytes(payload[position + 8 + length :][:4], "big")
        kinds.append(kind)
        position += 12 + length
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}


def test_kinds_are_told_by_content_and_not_by_name(tmp_path, png_with_secrets):
    path = tmp_path / "film.dcm"
    path.write_bytes(png_with_secrets)
    assert file_kind(png_with_secrets[:132]) == "png"
    assert read_film(Path(path)).payload.startswith(b"\x89PNG")
