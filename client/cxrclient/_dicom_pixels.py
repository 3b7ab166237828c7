"""Uncompressed pixels: the samples, and none of what else lies between and behind them.

Old overlays sit in the bits of a word that its sample does not use, and writers leave whatever was
in memory behind the last pixel. Neither belongs to the image. Source: DICOM PS3.5 section 8.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["PixelLayout", "only_samples"]

_WORD_BYTES = {8: 1, 16: 2, 32: 4}


class PixelLayout(NamedTuple):
    """How samples lie in pixel data, as the header claims; 0 where it claims nothing.

    Attributes:
        samples: of all frames.
        allocated: bits of a word.
        stored: bits of a sample.
        high_bit: its highest bit in the word; None for `stored - 1`.
        signed: whether its highest bit is a sign.
    """

    samples: int
    allocated: int
    stored: int
    high_bit: int | None
    signed: bool


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


def _without_foreign_bits(value: memoryview, layout: PixelLayout, word: str) -> bytes | None:
    """The words with bits of their samples only; None where no others are set."""
    allocated = layout.allocated
    stored = min(max(layout.stored or allocated, 1), allocated)
    high_bit = stored - 1 if layout.high_bit is None else layout.high_bit
    shift = min(max(high_bit - stored + 1, 0), allocated - stored)
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
