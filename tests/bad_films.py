"""Files made for being refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from pydicom import dcmread
from pydicom.encaps import encapsulate


def encapsulated(
    frame: bytes, syntax: str, make_dicom: Callable[..., bytes], **header: object
) -> bytes:
    """One 8-bit DICOM object around a compressed frame."""
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
