"""Uncompressed pixels: the samples, and none of what else lies between and behind them.

Old overlays sit in the bits of a word that its sample does not use, and writers leave whatever was
in memory behind the last pixel. Neither belongs to the image. Source: DICOM PS3.5 section 8.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_WORD_BYTES = {8: 1, 16: 2, 32: 4}


class PixelLayout(NamedTuple):
    """How samples lie in pixel data, as the header claims; 0 where it claims nothing.

    Attributes:
        samples: of all frames.
        allocated: bits of a word.
        stored: bits of a sample.
        high_bit: its highest bit in the word; None for `stored - 1`.
        signed: whether its highest bit is a sign.
        overlaid: whether an overlay is in bits of the words that no sample uses.
    """

    samples: int
    allocated: int
    stored: int
    high_bit: int | None
    signed: bool
    overlaid: bool = False


def only_samples(value: memoryview, layout: PixelLayout, order: str) -> bytes | memoryview:
    """The value without foreign bits and without what follows its last sample.

    What is clean comes back as it is, uncopied. Unused bits become 0; above a sign, copies of it.

    Args:
        value: of the pixel data element, of even length.
        layout: what the header says; what it says wrongly is read as the server reads it.
        order: byte order, `<` or `>`.

    Returns:
        A value of even length.
    """
    size = -(-layout.samples * layout.allocated // 8)
    tail: bytes = b""
    if 0 < size < len(value):
        value, tail = value[:size], bytes(size % 2)
    width = _WORD_BYTES.get(layout.allocated)
    cleaned = _without_foreign_bits(value, layout, f"{order}u{width}") if width else None
    if cleaned is not None:
        return cleaned + tail
    return bytes(value) + tail if tail else value


def byte_tables(layout: PixelLayout) -> list[npt.NDArray[np.uint8] | None]:
    """What each byte of a word becomes without foreign bits; None where it has none.

    Most significant byte first. A sign is only carried up within its own byte: who decodes words
    that are not whole bytes carries it up again.
    """
    stored, shift = _sample_bits(layout)
    used = ((1 << stored) - 1) << shift
    sign = 1 << (stored + shift - 1)
    tables: list[npt.NDArray[np.uint8] | None] = []
    for low in range(layout.allocated - 8, -1, -8):
        mask = (used >> low) & 0xFF
        values = np.arange(256, dtype=np.uint8)
        table = values & np.uint8(mask)
        if layout.signed and sign >> low in range(1, 256):
            above = np.uint8(0xFF & ~(2 * (sign >> low) - 1))
            table = np.where(values & np.uint8(sign >> low), table | above, table)
        tables.append(None if mask == 0xFF else table)
    return tables


def _sample_bits(layout: PixelLayout) -> tuple[int, int]:
    """How many bits of a word are its sample's, and above which bit they start."""
    stored = min(max(layout.stored or layout.allocated, 1), layout.allocated)
    high_bit = stored - 1 if layout.high_bit is None else layout.high_bit
    return stored, min(max(high_bit - stored + 1, 0), layout.allocated - stored)


def _without_foreign_bits(value: memoryview, layout: PixelLayout, word: str) -> bytes | None:
    """The words with bits of their samples only; None where no others are set."""
    allocated = layout.allocated
    stored, shift = _sample_bits(layout)
    used = ((1 << stored) - 1) << shift
    whole = len(value) // (allocated // 8)
    words = np.frombuffer(value, word, whole)
    if not int(np.bitwise_or.reduce(words)) & ~used:
        return None
    if layout.signed:
        above = allocated - stored - shift
        signed = words.astype(f"=i{words.itemsize}") << above >> (allocated - stored) << shift
        clean = signed.astype(word.replace("u", "i"))
    else:
        clean = words & words.dtype.type(used)
        clean = clean.astype(word, copy=False)
    return clean.tobytes() + bytes(len(value) - clean.nbytes)
