"""A film in an encoding, as a file here and as what the client sends of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
)

import cxrclient.films.film
from cxrexport.preprocessing import DecodedFilm, decode_film

MakeDicom = Callable[..., bytes]

GOLDEN = Path(__file__).parent / "client/pixels/golden"


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


def written(dataset: Dataset, syntax: str) -> bytes:
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


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
