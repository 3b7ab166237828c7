"""Damage anywhere in a file ends in a film or in a code, and tells nothing of the patient."""

from __future__ import annotations

import contextlib
import io
import logging
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2KLossless,
    JPEGExtended12Bit,
    RLELossless,
)

from cxrclient.errors import (
    FilmError,
    NotReadable,
)
from cxrclient.films import read_film
from cxrexport.preprocessing import PreprocessingSpec, decode_film, preprocess

SPEC = PreprocessingSpec(size_px=64)


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
    golden = Path(__file__).parents[1] / "golden"
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
                with contextlib.suppress(FilmError):
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
        decode_film((Path(__file__).parents[1] / "golden" / name).read_bytes())


def test_a_jfif_segment_that_ends_gdcm_is_kept_from_it() -> None:
    golden = Path(__file__).parents[1] / "golden"
    film = decode_film((golden / "extended_odd_jfif.dcm").read_bytes())
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
