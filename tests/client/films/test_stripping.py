"""Compressed pixels: the image's bits travel, and nothing that lies beside them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from cxrclient.errors import FilmError
from cxrclient.films.codestreams.metadata import zero_metadata
from cxrclient.films.film import read_film

SECRET = b"ZORNSECRET"


@pytest.fixture
def compressed(tmp_path: Path, write_dicom: Callable[..., Path]) -> Callable[..., pydicom.Dataset]:
    """A DICOM object around pixels, compressed losslessly."""

    def make(pixels: np.ndarray, syntax: str, **header: object) -> pydicom.Dataset:
        plain = {"BitsStored": 8 * pixels.itemsize, "HighBit": 8 * pixels.itemsize - 1}
        film = pydicom.dcmread(write_dicom(tmp_path / "plain.dcm", pixels, **plain))
        plugin = "pylibjpeg" if syntax == RLELossless else ""
        film.compress(syntax, generate_instance_uid=False, encoding_plugin=plugin)
        for keyword, value in header.items():
            setattr(film, keyword, value)
        return film

    return make


def written(film: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def with_stream(film: pydicom.Dataset, stream: bytes, syntax: str) -> bytes:
    film.PixelData = encapsulate([stream + b"\0" * (len(stream) % 2)])
    film["PixelData"].VR, film["PixelData"].is_undefined_length = "OB", True
    film.file_meta.TransferSyntaxUID = syntax
    return written(film)


def sent(encoded: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(read_film(encoded).payload))


def words(film: pydicom.Dataset, dtype: str) -> np.ndarray:
    """Whole words of the one frame, with what unused bits hold."""
    from pydicom.pixels import get_decoder

    decoder = get_decoder(film.file_meta.TransferSyntaxUID)
    array, _ = decoder.as_array(film, index=0, raw=True, correct_unused_bits=False)
    return array.view(dtype)


@pytest.mark.parametrize("low_bit", [0, 2, 4])
@pytest.mark.parametrize("signed", [False, True])
def test_an_overlay_in_the_unused_bits_of_rle_does_not_travel_and_samples_stay(
    signed: bool, low_bit: int, compressed: Callable[..., pydicom.Dataset]
) -> None:
    chance = np.random.default_rng(5)
    samples = chance.integers(0, 4096, (33, 29)) - (2048 if signed else 0)
    samples[:9] = samples[0, 0]  # runs, and not only literals
    used = 0x0FFF << low_bit
    clean = (samples << low_bit).astype(np.int64)
    overlay = chance.integers(0, 1 << 16, samples.shape) & ~used & 0xFFFF
    film = compressed(
        ((clean & used) | overlay).astype(np.uint16),
        RLELossless,
        BitsStored=12,
        HighBit=11 + low_bit,
        PixelRepresentation=int(signed),
    )
    found = words(sent(written(film)), "i2" if signed else "u2")
    np.testing.assert_array_equal(found, clean)


def test_rle_of_8_bits_travels_as_it_is(compressed: Callable[..., pydicom.Dataset]) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (33, 29)).astype(np.uint8)
    film = compressed(pixels, RLELossless)
    before = next(generate_frames(film.PixelData, number_of_frames=1))
    after = next(generate_frames(sent(written(film)).PixelData, number_of_frames=1))
    assert after == before


def test_bytes_behind_the_last_run_and_in_the_header_of_rle_do_not_travel(
    compressed: Callable[..., pydicom.Dataset],
) -> None:
    pixels = np.arange(33 * 29, dtype=np.uint16).reshape(33, 29)
    film = compressed(pixels, RLELossless)
    stream = bytearray(next(generate_frames(film.PixelData, number_of_frames=1)))
    stream[40:50] = SECRET  # offsets of segments that there are not
    encoded = with_stream(film, bytes(stream) + SECRET, RLELossless)
    payload = read_film(encoded).payload
    assert SECRET in encoded
    assert SECRET not in payload
    np.testing.assert_array_equal(words(sent(encoded), "u2"), pixels)


@pytest.mark.parametrize("damage", ["short", "no segments", "backwards", "too few"])
def test_damaged_rle_is_rejected_unsent(
    damage: str, compressed: Callable[..., pydicom.Dataset]
) -> None:
    film = compressed(np.arange(33 * 29, dtype=np.uint16).reshape(33, 29), RLELossless)
    stream = next(generate_frames(film.PixelData, number_of_frames=1))
    stream = {
        "short": stream[:40],
        "no segments": bytes(4) + stream[4:],
        "backwards": stream[:4] + struct.pack("<II", 900, 64) + stream[12:],
        "too few": stream[: len(stream) * 3 // 4],
    }[damage]
    with pytest.raises(FilmError) as error:
        read_film(with_stream(film, stream, RLELossless))
    assert (error.value.code, error.value.status) == ("NOT_READABLE", "rejected")


def test_an_offset_table_does_not_travel(compressed: Callable[..., pydicom.Dataset]) -> None:
    pixels = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
    film = compressed(pixels, JPEG2000Lossless)
    stream = next(generate_frames(film.PixelData, number_of_frames=1))
    table = struct.pack("<HHI", 0xFFFE, 0xE000, len(SECRET)) + SECRET
    film.PixelData = table + encapsulate([stream], has_bot=False)[8:]
    film["PixelData"].is_undefined_length = True
    encoded = written(film)
    assert SECRET in encoded
    assert SECRET not in read_film(encoded).payload
    np.testing.assert_array_equal(words(sent(encoded), "u2"), pixels)


def test_bytes_between_the_segments_of_a_jpeg_do_not_travel() -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((16, 16), np.uint8))[1].tobytes()
    table = jpeg.index(b"\xff\xdb")
    assert SECRET not in zero_metadata(jpeg[:table] + SECRET + jpeg[table:])
    assert SECRET not in read_film(jpeg[:table] + SECRET + jpeg[table:]).payload


def test_boxes_of_jp2_that_no_decoder_needs_do_not_travel() -> None:
    """JP2 is no DICOM, and yet some files bring it."""
    jp2 = cv2.imencode(".jp2", np.eye(64, dtype=np.uint8) * 200)[1].tobytes()
    header = jp2.index(b"jp2h") - 4
    (length,) = struct.unpack_from(">I", jp2, header)
    label = struct.pack(">I4s", 8 + len(SECRET), b"lbl ") + SECRET
    longer = struct.pack(">I", length + len(label)) + jp2[header + 4 : header + length] + label
    box = struct.pack(">I4s", 8 + len(SECRET), b"xml ") + SECRET
    clean = zero_metadata(jp2[:header] + longer + box + jp2[header + length :])
    assert SECRET not in clean
    before, after = (cv2.imdecode(np.frombuffer(d, np.uint8), 0) for d in (jp2, clean))
    np.testing.assert_array_equal(before, after)


def test_a_stream_that_nobody_knows_is_rejected_unsent(
    compressed: Callable[..., pydicom.Dataset],
) -> None:
    film = compressed(np.zeros((64, 64), np.uint8), RLELossless)
    with pytest.raises(FilmError) as error:
        read_film(with_stream(film, SECRET * 9, JPEGBaseline8Bit))
    assert (error.value.code, error.value.status) == ("NOT_READABLE", "rejected")


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_stream_with_an_overlay_inside_is_rejected_unsent(
    syntax: str, compressed: Callable[..., pydicom.Dataset]
) -> None:
    """Without the overlay, bits that nobody uses are no reason."""
    words = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48) | 0x1000
    film = compressed(words, syntax, BitsStored=12, HighBit=11)
    assert read_film(written(film)).payload
    film.add_new((0x6002, 0x0102), "US", 12)
    with pytest.raises(FilmError, match="overlay") as error:
        read_film(written(film))
    assert (error.value.code, error.value.status) == ("NOT_READABLE", "rejected")


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_a_stream_of_samples_only_has_no_room_for_an_overlay(
    syntax: str, compressed: Callable[..., pydicom.Dataset]
) -> None:
    film = compressed(np.arange(64 * 48, dtype=np.uint16).reshape(64, 48), syntax)
    film.add_new((0x6000, 0x0102), "US", 12)
    assert read_film(written(film)).payload


def test_a_transfer_syntax_is_named_where_it_is_a_uid_only(
    compressed: Callable[..., pydicom.Dataset],
) -> None:
    encoded = written(compressed(np.zeros((64, 48), np.uint16), RLELossless))
    for syntax, named in ((b"1.2.840.9.9.9.9.99\0", True), (b"ZORNSECRET1.2.3.4\0\0", False)):
        damaged = encoded.replace(b"1.2.840.10008.1.2.5\0", syntax.ljust(20, b"\0"))
        with pytest.raises(FilmError, match="is not one for radiographs") as error:
            read_film(damaged)
        assert (syntax.rstrip(b"\0").decode() in error.value.message) is named


def test_functional_groups_bring_their_look_ups_and_nothing_else(
    tmp_path: Path, write_dicom: Callable[..., Path]
) -> None:
    group, window, about = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    window.WindowCenter, window.WindowWidth = "1800", "900"
    window.WindowCenterWidthExplanation = about.FrameComments = SECRET.decode()
    group.FrameVOILUTSequence, group.FrameContentSequence = [window], [about]
    path = write_dicom(tmp_path / "a.dcm", NumberOfFrames=1, SharedFunctionalGroupsSequence=[group])
    film = sent(path.read_bytes())
    assert (film.WindowCenter, film.WindowWidth) == (1800, 900)
    assert "SharedFunctionalGroupsSequence" not in film
    assert SECRET not in read_film(path).payload
