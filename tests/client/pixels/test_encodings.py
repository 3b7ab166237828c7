"""One film in every encoding is one film: as a file here, and as the client sends it."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2K,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

import cxrclient.films.film
from cxrclient.errors import Colour, NotReadable
from cxrexport.preprocessing import DecodedFilm, decode_film

MakeDicom = Callable[..., bytes]
GOLDEN = Path(__file__).with_name("golden")


def as_sent(encoded: bytes) -> bytes:
    """What the client makes of a file."""
    return cxrclient.films.film.read_film(encoded).payload


def decoded(encoded: bytes) -> DecodedFilm:
    """The film, the same from the file and from what the client sends of it."""
    film, sent = decode_film(encoded), decode_film(as_sent(encoded))
    np.testing.assert_array_equal(film.pixels, sent.pixels)
    np.testing.assert_array_equal(film.padding, sent.padding)
    return film


def drawn(bits: int, signed: bool = False, rows: int = 62, columns: int = 48) -> np.ndarray:
    """Stored values over all `bits`, with a frame of the smallest, as 8 or 16 bits."""
    y, x = np.mgrid[0:rows, 0:columns]
    noise = np.random.default_rng(bits).normal(0, 0.03, x.shape)
    share = np.clip(0.5 + 0.45 * np.sin(x / 9) * np.cos(y / 11) + noise, 0, 1)
    share[:6], share[6] = 0, 1
    values = np.rint(share * ((1 << bits) - 1)).astype(int) - (int(signed) << (bits - 1))
    return values.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")


# --- transfer syntaxes -------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 15, 16])
def test_a_film_in_any_lossless_encoding_is_the_same_film(
    bits: int,
    signed: bool,
    lossless_syntax: str,
    make_dicom: MakeDicom,
    recompress: Callable[[bytes, str], bytes],
) -> None:
    values = drawn(bits, signed)
    header = {
        "BitsStored": bits,
        "WindowCenter": float(np.median(values)),
        "WindowWidth": 0.6 * 2**bits,
        "PixelPaddingValue": int(values.min()),
    }
    plain = decode_film(make_dicom(values, **header))
    film = decoded(recompress(make_dicom(values, **header), lossless_syntax))
    np.testing.assert_array_equal(film.pixels, plain.pixels)
    np.testing.assert_array_equal(film.padding, plain.padding)


def around(stream: bytes, syntax: str, make_dicom: MakeDicom, **header: Any) -> bytes:
    """A DICOM object of 12 bits, 40×32, around a compressed stream."""
    dataset = dcmread(io.BytesIO(make_dicom(np.zeros((40, 32), np.uint16), **header)))
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    return written(dataset, syntax)


def written(dataset: Dataset, syntax: str) -> bytes:
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2K])
def test_high_throughput_jpeg_2000_is_read(syntax: str, make_dicom: MakeDicom) -> None:
    values = np.load(GOLDEN / "film_12bit.npy")
    stream = (GOLDEN / "htj2k_lossless_12bit.j2c").read_bytes()
    film = decoded(around(stream, syntax, make_dicom, BitsStored=12))
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


def test_extended_jpeg_of_12_bits_is_decoded_as_libjpeg_turbo_decodes_it(
    make_dicom: MakeDicom,
) -> None:
    stream = (GOLDEN / "extended_12bit.jpg").read_bytes()
    film = decoded(around(stream, JPEGExtended12Bit, make_dicom, BitsStored=12))
    expected = make_dicom(np.load(GOLDEN / "extended_12bit.npy"), BitsStored=12)
    np.testing.assert_array_equal(film.pixels, decode_film(expected).pixels)
    assert "LOSSY_COMPRESSED" in film.header_flags


def test_what_extended_jpeg_holds_the_stream_says_and_not_the_header(
    make_dicom: MakeDicom,
) -> None:
    """8 bits in an object that says 12 are read as 8 bits."""
    values = drawn(8, rows=40, columns=32)
    stream = cv2.imencode(".jpg", values, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    film = decoded(around(stream, JPEGExtended12Bit, make_dicom, BitsStored=12))
    expected = decode_film(make_dicom(cv2.imdecode(np.frombuffer(stream, np.uint8), 0)))
    np.testing.assert_array_equal(film.pixels, expected.pixels)


@pytest.mark.parametrize("near", [1, 3])
def test_near_lossless_jpeg_ls_is_as_near_as_it_says(near: int, make_dicom: MakeDicom) -> None:
    values = drawn(12)
    dataset = dcmread(io.BytesIO(make_dicom(values, BitsStored=12)))
    dataset.compress("1.2.840.10008.1.2.4.81", generate_instance_uid=False, jls_error=near)
    film = decoded(written(dataset, "1.2.840.10008.1.2.4.81"))
    plain = decode_film(make_dicom(values, BitsStored=12))
    step = 65535 // 4095
    difference = np.abs(film.pixels.astype(int) - plain.pixels)
    assert 0 < difference.max() <= 2 * (near + 1) * step


def test_a_j2k_stream_padded_behind_its_end_is_read(
    make_dicom: MakeDicom, recompress: Callable[[bytes, str], bytes]
) -> None:
    """Some writers make its length even with FF."""
    values = drawn(12)
    dataset = dcmread(
        io.BytesIO(recompress(make_dicom(values, BitsStored=12), str(JPEG2000Lossless)))
    )
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1)).rstrip(b"\0")
    dataset.PixelData = encapsulate([stream + b"\xff" * (2 - len(stream) % 2)])
    film = decoded(written(dataset, JPEG2000Lossless))
    np.testing.assert_array_equal(
        film.pixels, decode_film(make_dicom(values, BitsStored=12)).pixels
    )


# --- words: high bits and what lies beside the samples -------------------------------------------


@pytest.mark.parametrize(
    "syntax", [None, RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless]
)
@pytest.mark.parametrize("low_bit", [0, 2, 4])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_beside_the_samples_are_never_drawn(
    signed: bool,
    low_bit: int,
    syntax: str | None,
    make_dicom: MakeDicom,
    recompress: Callable[[bytes, str], bytes],
) -> None:
    """An old overlay in unused bits; the stream has whole words, as its precision says."""
    values = drawn(12, signed)
    used = 0x0FFF << low_bit
    noise = np.random.default_rng(1).integers(0, 1 << 16, values.shape)
    words = ((values.astype(int) << low_bit) & used | noise & ~used & 0xFFFF).astype(np.uint16)
    encoded = make_dicom(words)
    if syntax:
        encoded = recompress(encoded, str(syntax))
    dataset = dcmread(io.BytesIO(encoded))
    dataset.BitsStored, dataset.HighBit = 12, 11 + low_bit
    dataset.PixelRepresentation = int(signed)
    film = decoded(written(dataset, dataset.file_meta.TransferSyntaxUID))
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_high_bit_of_before_compression_does_not_shift_what_the_stream_holds(
    syntax: str, make_dicom: MakeDicom, recompress: Callable[[bytes, str], bytes]
) -> None:
    values = drawn(12)
    plain = make_dicom(values, BitsStored=12)
    dataset = dcmread(io.BytesIO(recompress(plain, str(syntax))))
    dataset.HighBit = 15
    film = decoded(written(dataset, syntax))
    np.testing.assert_array_equal(film.pixels, decode_film(plain).pixels)


# --- look-up tables ------------------------------------------------------------------------------

RISING = (65535 * np.linspace(0, 1, 4096) ** 0.5).astype(np.uint16)


def item(data: Any, vr: str, entries: int, first: int, bits: int, first_vr: str = "US") -> Dataset:
    lut = Dataset()
    lut.add_new(0x00283002, first_vr, [entries % 65536, first, bits])
    lut.add_new(0x00283006, vr, data)
    return lut


def big_endian(encoded: bytes) -> bytes:
    """The same object in big endian; words of look-up tables too."""
    dataset, buffer = dcmread(io.BytesIO(encoded)), io.BytesIO()
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        for lut in dataset.get(name) or ():
            if lut["LUTData"].VR == "OW":
                lut.LUTData = np.frombuffer(lut.LUTData, "<u2").byteswap().tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dcmwrite(buffer, dataset, implicit_vr=False, little_endian=False, enforce_file_format=True)
    return buffer.getvalue()


def implicit(encoded: bytes) -> bytes:
    dataset, buffer = dcmread(io.BytesIO(encoded)), io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    dcmwrite(buffer, dataset, implicit_vr=True, little_endian=True, enforce_file_format=True)
    return buffer.getvalue()


def levels(film: DecodedFilm) -> np.ndarray:
    pixels = film.pixels.astype(float)
    return (pixels - pixels.min()) / (pixels.max() - pixels.min())


def spread(seen: np.ndarray) -> np.ndarray:
    seen = seen.astype(float)
    return (seen - seen.min()) / (seen.max() - seen.min())


@pytest.mark.parametrize("form", [lambda e: e, implicit, big_endian], ids=["<", "implicit", ">"])
@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("kind", ["words as bytes", "words as numbers", "packed", "packed numbers"])
def test_a_table_is_read_however_its_entries_are_written(
    kind: str, sequence: str, form: Callable[[bytes], bytes], make_dicom: MakeDicom
) -> None:
    values = drawn(12)
    short = (RISING >> 8).astype(np.uint8)
    lut = {
        "words as bytes": item(RISING.tobytes(), "OW", 4096, 0, 16),
        "words as numbers": item(RISING.tolist(), "US", 4096, 0, 16),
        "packed": item(short.tobytes(), "OW", 4096, 0, 8),
        "packed numbers": item(short.view("<u2").tolist(), "US", 4096, 0, 8),
    }[kind]
    film = decoded(form(make_dicom(values, BitsStored=12, **{sequence: [lut]})))
    expected = (short if kind.startswith("packed") else RISING)[values]
    np.testing.assert_allclose(levels(film), spread(expected), atol=2e-5)


@pytest.mark.parametrize("form", [lambda e: e, implicit, big_endian], ids=["<", "implicit", ">"])
@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
def test_a_table_of_signed_values_starts_below_zero(
    sequence: str, form: Callable[[bytes], bytes], make_dicom: MakeDicom
) -> None:
    values = drawn(12, signed=True)
    lut = item(RISING.tobytes(), "OW", 4096, -2048, 16, first_vr="SS")
    film = decoded(form(make_dicom(values, BitsStored=12, **{sequence: [lut]})))
    np.testing.assert_allclose(levels(film), spread(RISING[values + 2048]), atol=2e-5)


def test_a_first_value_below_zero_is_known_where_its_writer_called_it_unsigned(
    make_dicom: MakeDicom,
) -> None:
    """Rescaled values reach below zero although the stored ones do not."""
    values = drawn(12)
    lut = item(RISING.tobytes(), "OW", 4096, 65536 - 1024, 16)
    header = {"RescaleSlope": 1, "RescaleIntercept": -1024, "VOILUTSequence": [lut]}
    film = decoded(make_dicom(values, BitsStored=12, **header))
    np.testing.assert_allclose(levels(film), spread(RISING[values]), atol=2e-5)


def test_a_table_of_65536_entries_says_zero(make_dicom: MakeDicom) -> None:
    values, table = drawn(16), (65535 * np.linspace(0, 1, 65536) ** 2).astype(np.uint16)
    lut = item(table.tobytes(), "OW", 65536, 0, 16)
    film = decoded(make_dicom(values, VOILUTSequence=[lut]))
    np.testing.assert_allclose(levels(film), spread(table[values]), atol=2e-5)


def test_of_several_tables_and_windows_the_first_counts(make_dicom: MakeDicom) -> None:
    values = drawn(12)
    luts = [item(t.tobytes(), "OW", 4096, 0, 16) for t in (RISING, RISING[::-1].copy())]
    film = decoded(make_dicom(values, BitsStored=12, VOILUTSequence=luts))
    np.testing.assert_allclose(levels(film), spread(RISING[values]), atol=2e-5)
    windows = {"WindowCenter": [1500, 40], "WindowWidth": [3000, 400]}
    one = {"WindowCenter": 1500, "WindowWidth": 3000}
    np.testing.assert_array_equal(
        decoded(make_dicom(values, BitsStored=12, **windows)).pixels,
        decoded(make_dicom(values, BitsStored=12, **one)).pixels,
    )


@pytest.mark.parametrize("data", [b"\x01", b"", [1, 2, 3]])
def test_a_table_with_too_few_entries_is_not_readable(data: Any, make_dicom: MakeDicom) -> None:
    lut = item(data, "OW" if isinstance(data, bytes) else "US", 4096, 0, 16)
    with pytest.raises(NotReadable, match="look-up table"):
        decode_film(make_dicom(drawn(12), BitsStored=12, VOILUTSequence=[lut]))


def test_an_unknown_voi_function_is_linear(make_dicom: MakeDicom) -> None:
    """PS3.3 C.11.2.1.3: without the attribute, and so without a word that is known, LINEAR."""
    window = {"WindowCenter": 900, "WindowWidth": 301, "BitsStored": 12}
    film = decode_film(make_dicom(drawn(12), **window, VOILUTFunction="FANCY"))
    plain = decode_film(make_dicom(drawn(12), **window))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


# --- one frame in a multi-frame object ------------------------------------------------------------

GREY_WORD_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"
WINDOW = {"WindowCenter": 1800, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}


def macros(**about: Any) -> Dataset:
    group = Dataset()
    for name, attributes in about.items():
        inner = Dataset()
        for keyword, value in attributes.items():
            setattr(inner, keyword, value)
        setattr(group, name, [inner])
    return group


@pytest.mark.parametrize("place", ["shared", "of the frame", "of the frame before shared"])
@pytest.mark.parametrize("form", [lambda e: e, implicit, big_endian], ids=["<", "implicit", ">"])
def test_one_frame_in_a_multi_frame_object_is_a_film(
    place: str, form: Callable[[bytes], bytes], make_dicom: MakeDicom
) -> None:
    values, rescale = drawn(12), {"RescaleSlope": "2", "RescaleIntercept": "-100"}
    right = macros(FrameVOILUTSequence=WINDOW, PixelValueTransformationSequence=rescale)
    wrong = macros(FrameVOILUTSequence={"WindowCenter": 9, "WindowWidth": 9})
    groups = {
        "shared": {"SharedFunctionalGroupsSequence": [right]},
        "of the frame": {"PerFrameFunctionalGroupsSequence": [right]},
        "of the frame before shared": {
            "SharedFunctionalGroupsSequence": [wrong],
            "PerFrameFunctionalGroupsSequence": [right],
        },
    }[place]
    multi = {"NumberOfFrames": 1, "SOPClassUID": GREY_WORD_CAPTURE, "BitsStored": 12}
    film = decoded(form(make_dicom(values, **multi, **groups)))
    plain = decode_film(make_dicom(values, BitsStored=12, **WINDOW, **rescale))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


def test_what_the_object_says_at_the_top_comes_before_its_groups(make_dicom: MakeDicom) -> None:
    values, group = drawn(12), macros(FrameVOILUTSequence={"WindowCenter": 9, "WindowWidth": 9})
    film = decoded(
        make_dicom(values, BitsStored=12, SharedFunctionalGroupsSequence=[group], **WINDOW)
    )
    plain = decode_film(make_dicom(values, BitsStored=12, **WINDOW))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


@pytest.mark.parametrize("group", [Dataset(), macros(FrameVOILUTSequence={})])
def test_functional_groups_may_be_empty(group: Dataset, make_dicom: MakeDicom) -> None:
    values = drawn(12)
    film = decoded(make_dicom(values, BitsStored=12, SharedFunctionalGroupsSequence=[group]))
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


@pytest.mark.parametrize("frames", [1, 0, None])
def test_one_frame_may_be_counted_or_not(frames: int | None, make_dicom: MakeDicom) -> None:
    counted = {} if frames is None else {"NumberOfFrames": frames}
    film = decoded(make_dicom(drawn(12), BitsStored=12, **counted))
    plain = decode_film(make_dicom(drawn(12), BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [lambda e: e, implicit, big_endian], ids=["<", "implicit", ">"])
@pytest.mark.parametrize("lacking", ["preamble", "file meta information"])
def test_a_file_may_lack_its_head(
    lacking: str, form: Callable[[bytes], bytes], make_dicom: MakeDicom
) -> None:
    values = drawn(12)
    encoded = form(make_dicom(values, BitsStored=12))
    start = 132 if lacking == "preamble" else 144 + int.from_bytes(encoded[140:144], "little")
    film = decoded(encoded[start:])
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


def test_a_deflated_file_without_preamble_may_not_inflate_without_end_either(
    make_dicom: MakeDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxrclient.errors import TooLarge

    monkeypatch.setattr("cxrclient.films.dicom_file.MAX_INFLATED_BYTES", 5000)
    encoded = make_dicom(drawn(12), syntax="1.2.840.10008.1.2.1.99")[132:]
    with pytest.raises(TooLarge):
        decode_film(encoded)


@pytest.mark.parametrize(
    ("sop_class", "header"),
    [
        ("1.2.840.10008.5.1.4.1.1.1", {"Modality": "CR"}),
        ("1.2.840.10008.5.1.4.1.1.1.1", {"PresentationIntentType": "FOR PRESENTATION"}),
        ("1.2.840.10008.5.1.4.1.1.1.1.1", {"PresentationIntentType": "FOR PROCESSING"}),
        ("1.2.840.10008.5.1.4.1.1.7", {"Modality": "OT", "ConversionType": "DF"}),
        (GREY_WORD_CAPTURE, {"Modality": "OT", "NumberOfFrames": 1}),
    ],
    ids=["CR", "DX", "DX for processing", "secondary capture", "multi-frame capture"],
)
def test_every_object_of_radiography_is_read(
    sop_class: str, header: dict[str, Any], make_dicom: MakeDicom
) -> None:
    values = drawn(12)
    film = decoded(make_dicom(values, BitsStored=12, SOPClassUID=sop_class, **header))
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


def test_overlays_are_never_drawn(make_dicom: MakeDicom) -> None:
    values = drawn(12)
    dataset = dcmread(io.BytesIO(make_dicom(values, BitsStored=12)))
    for group in (0x6000, 0x6002):
        dataset.add_new((group, 0x0010), "US", values.shape[0])
        dataset.add_new((group, 0x0011), "US", values.shape[1])
        dataset.add_new((group, 0x0040), "CS", "G")
        dataset.add_new((group, 0x0050), "SS", [1, 1])
        dataset.add_new((group, 0x0100), "US", 1)
        dataset.add_new((group, 0x0102), "US", 0)
        dataset.add_new((group, 0x3000), "OW", b"\xff" * (values.size // 8))
    film = decoded(written(dataset, "1.2.840.10008.1.2.1"))
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


# --- PNG and JPEG ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lossless_12bit.jpg", "jpegls_16bit.jls"])
def test_a_lossless_jpeg_file_keeps_its_bits(name: str, make_dicom: MakeDicom) -> None:
    film = decoded((GOLDEN / name).read_bytes())
    values = np.load(GOLDEN / "film_12bit.npy")
    np.testing.assert_array_equal(film.pixels, decode_film(make_dicom(values)).pixels)
    assert film.header_flags == ("NO_HEADER",)


def test_a_jpeg_file_of_12_bits_keeps_them(make_dicom: MakeDicom) -> None:
    film = decoded((GOLDEN / "extended_12bit.jpg").read_bytes())
    values = np.load(GOLDEN / "extended_12bit.npy")
    np.testing.assert_array_equal(film.pixels, decode_film(make_dicom(values)).pixels)
    assert film.header_flags == ("NO_HEADER", "LOSSY_COMPRESSED")


def png(rows: list[bytes], width: int, height: int, bits: int, interlaced: bool) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, int(interlaced))
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_an_interlaced_png_of_16_bits_is_read(make_dicom: MakeDicom) -> None:
    """Source: PNG specification, third edition, section 8.1 (Adam7)."""
    values = drawn(16)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1)]  # fmt: skip
    parts = [values[top::down, left::right] for top, left, down, right in passes]
    rows = [row.astype(">u2").tobytes() for part in parts for row in part]
    film = decoded(png(rows, values.shape[1], values.shape[0], 16, interlaced=True))
    np.testing.assert_array_equal(film.pixels, decode_film(make_dicom(values)).pixels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_png_of_few_bits_is_read(bits: int, make_dicom: MakeDicom) -> None:
    values = (drawn(8) >> (8 - bits)).astype(np.uint8)
    per_byte = 8 // bits
    shifts = bits * np.arange(per_byte - 1, -1, -1)
    packed = (values.reshape(values.shape[0], -1, per_byte) << shifts).sum(2).astype(np.uint8)
    rows = [row.tobytes() for row in packed]
    film = decoded(png(rows, values.shape[1], values.shape[0], bits, interlaced=False))
    np.testing.assert_allclose(levels(film), spread(values), atol=1e-4)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_grey_png_of_16_bits_stored_as_colour_is_a_grey_film(
    channels: int, make_dicom: MakeDicom
) -> None:
    values = drawn(16)
    opaque = [values] * 3 + [np.full_like(values, 65535)] * (channels - 3)
    film = decoded(cv2.imencode(".png", cv2.merge(opaque))[1].tobytes())
    np.testing.assert_array_equal(film.pixels, decode_film(make_dicom(values)).pixels)


def test_a_progressive_jpeg_is_the_film_of_the_ordinary_one() -> None:
    values = drawn(8)
    plain, progressive = (
        cv2.imencode(".jpg", values, [cv2.IMWRITE_JPEG_PROGRESSIVE, kind])[1].tobytes()
        for kind in (0, 1)
    )
    assert b"\xff\xc2" in progressive
    np.testing.assert_array_equal(decoded(progressive).pixels, decoded(plain).pixels)


@pytest.mark.parametrize("suffix", ["PNG", "JPEG"])
def test_a_colour_profile_changes_nothing(suffix: str) -> None:
    from PIL import Image, ImageCms

    values, files = drawn(8), []
    gamma = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (None, gamma):
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, suffix, icc_profile=profile)
        files.append(buffer.getvalue())
    assert len(files[1]) > len(files[0]) + 300
    np.testing.assert_array_equal(decoded(files[0]).pixels, decoded(files[1]).pixels)


def test_a_coloured_palette_is_colour() -> None:
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(drawn(8)).convert("P")
    image.putpalette(list(itertools.chain.from_iterable((n, 255 - n, 7) for n in range(256))))
    image.save(buffer, "PNG")
    with pytest.raises(Colour):
        decode_film(buffer.getvalue())
