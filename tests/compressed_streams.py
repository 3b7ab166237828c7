"""Compressed films whose end can be cut off or zeroed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from pydicom import dcmread
from pydicom.encaps import encapsulate

from cxrclient.errors import FilmError
from cxrexport.preprocessing import decode_film

MakeDicom = Callable[..., bytes]

GOLDEN = Path(__file__).parent / "client/pixels/golden"

JPEG = "1.2.840.10008.1.2.4."

SHARES = [0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99]

END = b"\xff\xd9"


class Stream(NamedTuple):
    """A compressed film: its bytes, transfer syntax, and the bits that are stored."""

    encoded: bytes
    syntax: str
    bits: int
    shape: tuple[int, int]

    def in_dicom(self, make_dicom: MakeDicom, stream: bytes | None = None) -> bytes:
        kind = np.uint8 if self.bits == 8 else np.uint16
        dataset = dcmread(io.BytesIO(make_dicom(np.zeros(self.shape, kind), BitsStored=self.bits)))
        dataset.PixelData = encapsulate([self.encoded if stream is None else stream])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = self.syntax
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    @property
    def is_jpeg(self) -> bool:
        return self.encoded.startswith(b"\xff\xd8")

    @property
    def data(self) -> tuple[int, int]:
        """Where the compressed samples begin and end."""
        if self.is_jpeg:
            scan = self.encoded.index(b"\xff\xda")
            behind = scan + 2 + int.from_bytes(self.encoded[scan + 2 : scan + 4], "big")
            return behind, self.encoded.rindex(END)
        if self.syntax.startswith(JPEG):
            return self.encoded.index(b"\xff\x93") + 2, self.encoded.rindex(END)
        return 64, len(self.encoded)  # behind RLE's header

    def cut(self, share: float) -> bytes:
        begin, end = self.data
        kept = self.encoded[: begin + int(share * (end - begin))].rstrip(b"\xff")
        return kept + self.encoded[end:]

    def zeroed(self, share: float) -> bytes:
        begin, end = self.data
        kept = self.encoded[: begin + int(share * (end - begin))]
        return kept + bytes(end - len(kept)) + self.encoded[end:]


def jpeg(pixels: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".jpg", pixels, list(options))[1].tobytes()


STREAMS = [
    "baseline",
    "baseline, best tables",
    "baseline, restarts",
    "progressive",
    "extended 12",
    *(f"lossless {process} {bits}" for process in ("57", "70") for bits in (8, 12, 16)),
    *(f"JPEG-LS {bits}" for bits in (8, 12, 16)),
    "JPEG-LS near 12",
    *(f"JPEG 2000 {bits}" for bits in (8, 12, 16)),
    "JPEG 2000 lossy 12",
    "HTJ2K 12",
    *(f"RLE {bits}" for bits in (8, 12, 16)),
]


def refused(encoded: bytes) -> str:
    """The code with which a film ends; "ok" for one that is drawn."""
    try:
        decode_film(encoded)
    except FilmError as error:
        return error.code
    return "ok"
