"""Each kind of bad film gets its own stable code, whatever else is in the file."""

from __future__ import annotations

import contextlib
import io
import logging
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

import cxrclient.errors
from cxrclient.errors import (
    Colour,
    Constant,
    FilmError,
    MultiFrame,
    NoPixels,
    NotReadable,
    TooLarge,
)
from cxrclient.films import read_film
from cxrexport.preprocessing import PreprocessingSpec, decode_film, preprocess

SPEC = PreprocessingSpec(size_px=64)


@pytest.fixture(scope="module")
def grey(thorax: np.ndarray) -> np.ndarray:
    return (thorax >> 4).astype(np.uint8)


@pytest.fixture(scope="module")
def encodings(make_dicom: Callable[..., bytes], thorax: np.ndarray) -> dict[str, bytes]:
    grey = (thorax >> 4).astype(np.uint8)
    compressed = dcmread(io.BytesIO(make_dicom(thorax)))
    compressed.compress(JPEG2000Lossless)
    buffer = io.BytesIO()
    compressed.save_as(buffer, enforce_file_format=True)
    return {
        "png": cv2.imencode(".png", grey)[1].tobytes(),
        "jpeg": cv2.imencode(".jpg", grey)[1].tobytes(),
        "progressive jpeg": cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[
            1
        ].tobytes(),
        "dicom": make_dicom(thorax),
        "deflated dicom": make_dicom(thorax, syntax="1.2.840.10008.1.2.1.99"),
        "jpeg 2000 dicom": buffer.getvalue(),
    }


def encapsulated(
    frame: bytes, syntax: str, make_dicom: Callable[..., bytes], **header: object
) -> bytes:
    """One 8-bit DICOM object around a compressed frame."""
    from pydicom.encaps import encapsulate

    dataset = dcmread(io.BytesIO(make_dicom(np.zeros((380, 340), np.uint8), **header)))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int, *middle: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(bytes(100)))
    chunks = (png_chunk(b"IHDR", header), *middle, data, png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    "encoded",
    [b"", b"\x00", b"GIF89a" + bytes(100), b"%PDF-1.7", b"II*\x00" + bytes(500), bytes(4096)],
    ids=["empty", "one byte", "gif", "pdf", "tiff", "zeros"],
)
def test_what_is_no_image_is_not_readable(encoded: bytes) -> None:
    with pytest.raises(NotReadable):
        decode_film(encoded)


@pytest.mark.parametrize(
    "kind",
    ["png", "jpeg", "progressive jpeg", "dicom", "deflated dicom", "jpeg 2000 dicom"],
)
@pytest.mark.filterwarnings("ignore:End of file reached")
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_not_readable(
    kind: str, share: float, encodings: dict[str, bytes]
) -> None:
    encoded = encodings[kind]
    with pytest.raises(NotReadable):
        decode_film(encoded[: int(len(encoded) * share)])


def test_a_png_with_a_flipped_bit_is_not_readable(encodings: dict[str, bytes]) -> None:
    damaged = bytearray(encodings["png"])
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(NotReadable):
        decode_film(bytes(damaged))


def test_a_png_with_too_few_rows_is_not_readable() -> None:
    with pytest.raises(NotReadable):
        decode_film(png_claiming(100, 100))


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless])
def test_a_truncated_frame_in_a_whole_object_is_not_readable(
    syntax: str, grey: np.ndarray, make_dicom: Callable[..., bytes]
) -> None:
    suffix = ".jpg" if syntax == JPEGBaseline8Bit else ".jp2"
    frame = cv2.imencode(suffix, grey)[1].tobytes()
    assert decode_film(encapsulated(frame, syntax, make_dicom)).pixels.shape == grey.shape
    with pytest.raises(NotReadable):
        decode_film(encapsulated(frame[: len(frame) // 2], syntax, make_dicom))


def test_an_object_without_an_image_has_no_pixels(make_dicom: Callable[..., bytes]) -> None:
    with pytest.raises(NoPixels):
        decode_film(make_dicom(np.zeros((8, 8), np.uint8), PixelData=None))


def test_an_object_that_is_cut_within_its_header_is_not_readable(
    make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    film = make_dicom(grey)
    rows = film.index(b"\x28\x00\x10\x00US")
    cut_at = [rows + n for n in range(1, 10)]  # in its tag, VR, length and value
    for end in cut_at:
        with pytest.raises(NotReadable):
            decode_film(film[:end])
    with pytest.raises(NoPixels):
        decode_film(film[:rows])


def test_several_frames_are_refused(make_dicom: Callable[..., bytes], grey: np.ndarray) -> None:
    with pytest.raises(MultiFrame):
        decode_film(make_dicom(np.concatenate([grey, grey]), Rows=380, NumberOfFrames=2))


def test_an_animated_png_is_several_frames() -> None:
    with pytest.raises(MultiFrame):
        decode_film(png_claiming(10, 10, png_chunk(b"acTL", struct.pack(">II", 2, 0))))


def test_colour_is_refused_in_dicom(make_dicom: Callable[..., bytes], grey: np.ndarray) -> None:
    pixels = np.stack([grey] * 3, axis=-1)
    encoded = make_dicom(
        pixels, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0
    )
    with pytest.raises(Colour):
        decode_film(encoded)


def test_a_palette_is_refused_in_dicom(make_dicom: Callable[..., bytes], grey: np.ndarray) -> None:
    with pytest.raises(Colour):
        decode_film(make_dicom(grey, PhotometricInterpretation="PALETTE COLOR"))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_colour_is_refused_in_images(suffix: str, grey: np.ndarray) -> None:
    tinted = cv2.merge([grey, grey, np.clip(grey.astype(int) + 40, 0, 255).astype(np.uint8)])
    with pytest.raises(Colour):
        decode_film(cv2.imencode(suffix, tinted)[1].tobytes())


def test_a_transparent_image_is_refused(grey: np.ndarray) -> None:
    with pytest.raises(Colour):
        decode_film(cv2.imencode(".png", cv2.merge([grey] * 4))[1].tobytes())


@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_film_of_one_value_is_constant(value: int, make_dicom: Callable[..., bytes]) -> None:
    flat = np.full((64, 64), value, np.uint8)
    for encoded in (
        make_dicom(flat),
        make_dicom(flat.astype(np.uint16) << 8),
        cv2.imencode(".png", flat)[1].tobytes(),
        cv2.imencode(".jpg", flat)[1].tobytes(),
    ):
        with pytest.raises(Constant):
            decode_film(encoded)


def test_a_film_of_padding_only_is_constant(make_dicom: Callable[..., bytes]) -> None:
    with pytest.raises(Constant):
        decode_film(make_dicom(np.full((64, 64), 9, np.uint16), PixelPaddingValue=9))


def test_one_value_beside_padding_is_constant(make_dicom: Callable[..., bytes]) -> None:
    pixels = np.full((64, 64), 9, np.uint16)
    pixels[:9] = 0
    with pytest.raises(Constant):
        decode_film(make_dicom(pixels, PixelPaddingValue=0))


@pytest.mark.parametrize("size", [(600, 700), (65535, 65535), (20_000, 20_000)])
def test_dicom_that_claims_more_than_it_holds_is_too_large(
    size: tuple[int, int], make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    with pytest.raises(TooLarge):
        decode_film(make_dicom(grey, Rows=size[0], Columns=size[1]))


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless, RLELossless])
def test_compressed_dicom_that_claims_more_than_it_holds_is_too_large(
    syntax: str, make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    suffix = ".jpg" if syntax == JPEGBaseline8Bit else ".jp2"
    frame = cv2.imencode(suffix, grey)[1].tobytes()
    with pytest.raises(TooLarge):
        decode_film(encapsulated(frame, syntax, make_dicom, Rows=9000, Columns=9000))


def test_a_frame_larger_than_its_header_says_is_not_readable(
    make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    frame = cv2.imencode(".jpg", np.tile(grey, (3, 3)))[1].tobytes()
    with pytest.raises(NotReadable, match="do not agree"):
        decode_film(encapsulated(frame, JPEGBaseline8Bit, make_dicom))


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (9_000, 9_000)])
def test_a_png_that_claims_more_than_it_holds_is_too_large(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge):
        decode_film(png_claiming(*size))


def test_a_jpeg_that_claims_more_than_it_holds_is_too_large(encodings: dict[str, bytes]) -> None:
    encoded = bytearray(encodings["jpeg"])
    frame = encoded.index(b"\xff\xc0")
    encoded[frame + 5 : frame + 9] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(TooLarge):
        decode_film(bytes(encoded))


def test_a_deflated_object_that_inflates_without_end_is_too_large(
    make_dicom: Callable[..., bytes],
) -> None:
    encoded = make_dicom(np.zeros((8, 8), np.uint8), syntax="1.2.840.10008.1.2.1.99")
    start = 144 + int.from_bytes(encoded[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range(230)) + packer.flush()
    with pytest.raises(TooLarge):
        decode_film(encoded[:start] + bomb)


def test_a_header_without_a_size_is_not_readable(
    make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    with pytest.raises(NotReadable):
        decode_film(make_dicom(grey, Rows=None))


def test_a_damaged_look_up_table_is_not_readable(
    make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, 16], b"\x01\x00\x02\x00"
    item["LUTData"].VR = "OW"
    with pytest.raises(NotReadable, match="look-up table"):
        decode_film(make_dicom(grey, VOILUTSequence=[item]))


# pydicom warns of each oddity that it reads past.
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_anywhere_ends_in_a_film_or_in_a_code(
    encodings: dict[str, bytes], data: st.DataObject
) -> None:
    """Whatever happens to a file, nothing but a FilmError comes out, and no patient with it."""
    encoded = bytearray(encodings[data.draw(st.sampled_from(sorted(encodings)))])
    for _ in range(data.draw(st.integers(1, 6))):
        near = data.draw(st.sampled_from([len(encoded), min(len(encoded), 1200)]))
        at = data.draw(st.integers(0, near - 1))
        encoded[at] = data.draw(st.integers(0, 255))
    try:
        image = preprocess(bytes(encoded), SPEC).image
    except FilmError as error:
        said = str(error)
    else:
        assert image.min() >= 0
        assert image.max() <= 1
        return
    assert "SECRET" not in said
    assert len(said) > 30


@pytest.fixture(scope="module")
def every_encoding(
    make_dicom: Callable[..., bytes],
    recompress: Callable[[bytes, str], bytes],
    lossless_syntaxes: dict[str, str],
) -> dict[str, bytes]:
    """Films of some hundred bytes to some kilobytes, in all encodings that are read."""
    y, x = np.mgrid[0:62, 0:48]
    values = np.rint(2047 * (1 + 0.9 * np.sin(x / 9) * np.cos(y / 11))).astype(np.uint16)
    plain = make_dicom(values, BitsStored=12, WindowCenter=2000, WindowWidth=3000)
    golden = Path(__file__).with_name("golden")
    streams = {path.name: path.read_bytes() for path in golden.iterdir() if path.suffix != ".npy"}
    small = make_dicom(np.zeros((40, 32), np.uint16), BitsStored=12)

    def around(stream: bytes, syntax: str) -> bytes:
        dataset, buffer = dcmread(io.BytesIO(small)), io.BytesIO()
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    return {
        "explicit": plain,
        **{name: recompress(plain, syntax) for name, syntax in lossless_syntaxes.items()},
        "HTJ2K": around(streams["htj2k_lossless_12bit.j2c"], HTJ2KLossless),
        "extended": around(streams["extended_12bit.jpg"], JPEGExtended12Bit),
        **{name: stream for name, stream in streams.items() if name.endswith((".jpg", ".jls"))},
        "png": cv2.imencode(".png", values)[1].tobytes(),
    }


def damaged(encoded: bytes, number: int) -> bytes:
    """The file cut off somewhere, or with one to four bits turned; the same for each number."""
    chance = np.random.default_rng(number)
    if number % 3 == 0:
        return encoded[: int(chance.integers(len(encoded)))]
    mutable = bytearray(encoded)
    start = 0 if number % 3 == 1 else len(encoded) // 2
    for _ in range(int(chance.integers(1, 5))):
        mutable[int(chance.integers(start, len(encoded)))] ^= 1 << int(chance.integers(8))
    return bytes(mutable)


@pytest.mark.filterwarnings("always")
def test_a_damaged_file_of_any_encoding_ends_and_stays_small(
    every_encoding: dict[str, bytes],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    """In a film or in a code, from the file and from what the client would send of it.

    And nothing of the patient is in a log or in a warning.
    """
    caplog.set_level(logging.DEBUG)
    most_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + (256 << 20)
    assert len(every_encoding) == 17
    for name, encoded in every_encoding.items():
        for number in range(15):
            film, began_s = damaged(encoded, number), time.monotonic()
            for kind in (
                lambda film: film,
                lambda film: read_film(film).payload,
            ):
                with contextlib.suppress(FilmError, cxrclient.errors.FilmError):
                    decode_film(kind(film))
            # Milliseconds as a rule; this only catches a decoder that hangs.
            assert time.monotonic() - began_s < 300, (name, number)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < most_bytes
    said = caplog.text + "".join(str(warning.message) for warning in recwarn)
    assert "could not be decoded" in said
    assert b"SECRET" in every_encoding["explicit"]
    assert "SECRET" not in said


def test_a_patient_whom_damage_puts_into_another_value_is_not_logged(
    make_dicom: Callable[..., bytes],
    grey: np.ndarray,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    """The length of the SOP class reaches over the name behind it, and pydicom quotes bad UIDs."""
    caplog.set_level(logging.DEBUG)
    encoded = make_dicom(grey)
    start = encoded.index(b"\x08\x00\x16\x00UI") + 6
    behind = encoded.index(b"\x10\x00\x20\x00LO")
    longer = struct.pack("<H", behind - start - 2)
    decode_film(encoded[:start] + longer + encoded[start + 2 :])
    assert "SECRET" not in caplog.text
    assert not any("SECRET" in str(warning.message) for warning in recwarn)


def test_a_panic_in_the_rle_plugin_is_damage(
    make_dicom: Callable[..., bytes], recompress: Callable[[bytes, str], bytes]
) -> None:
    """Rust's panics are no Exception: one would end the server's process."""
    values = np.arange(62 * 48, dtype=np.uint16).reshape(62, 48)
    encoded = recompress(make_dicom(values), str(RLELossless))
    frame = next(generate_frames(dcmread(io.BytesIO(encoded)).PixelData, number_of_frames=1))
    longer = frame[:64] + b"\x81\x07" * 40 + frame[64:]  # more than a segment may give
    with pytest.raises(NotReadable):
        decode_film(encoded.replace(frame, longer[: len(frame)]))


@pytest.mark.parametrize("name", ["jpegls_damaged.dcm", "extended_damaged.dcm"])
def test_a_damaged_stream_that_ends_gdcm_is_not_readable(name: str) -> None:
    """GDCM would end the process, and with it every film that the server holds."""
    with pytest.raises(NotReadable):
        decode_film((Path(__file__).with_name("golden") / name).read_bytes())


def test_a_jfif_segment_that_ends_gdcm_is_kept_from_it() -> None:
    film = decode_film((Path(__file__).with_name("golden") / "extended_odd_jfif.dcm").read_bytes())
    assert film.pixels.shape == (40, 32)


def test_a_jpeg_of_two_frames_is_not_readable(encodings: dict[str, bytes]) -> None:
    """Its decoder might believe the one, and the check of its size the other."""
    encoded = encodings["jpeg"]
    start = encoded.index(b"\xff\xc0")
    frame = encoded[start : start + 13]
    with pytest.raises(NotReadable):
        decode_film(encoded[:start] + frame + encoded[start:])


def test_an_unknown_transfer_syntax_is_not_readable(
    make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    encoded = make_dicom(grey).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0", 1)
    with pytest.raises(NotReadable):
        decode_film(encoded)


def test_errors_hold_nothing_of_the_patient_nor_their_causes(
    make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    for encoded in (
        make_dicom(grey, Rows=9000, Columns=9000),
        make_dicom(grey, PixelData=None),
        make_dicom(grey)[:-500],
        make_dicom(grey, PhotometricInterpretation="SECRET"),
    ):
        with pytest.raises(FilmError) as caught:
            decode_film(encoded)
        assert "SECRET" not in str(caught.value)
        assert caught.value.__cause__ is None
