"""RLE streams of a DICOM object: the samples' bits, and none of what else their words hold.

RLE keeps words whole, unused bits too, so an old overlay may sit in them as in uncompressed pixels.
It is taken out without decoding: the bytes that a run repeats or brings are masked where they are.
Source: DICOM PS3.5 annex G.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from cxrclient.films.dicom_pixels import PixelLayout, byte_tables

_HEADER_BYTES, _MOST_SEGMENTS = 64, 15
_MOST_IDLE = 10_000  # no encoder writes counts of nothing


def only_rle_samples(stream: bytes, layout: PixelLayout) -> bytes:
    """A frame as long as before, without foreign bits and without what follows its last sample.

    Args:
        stream: one RLE frame.
        layout: what the header says of one frame.

    Raises:
        EOFError: the stream ends early, or its segments are not where its header says.
    """
    if len(stream) < _HEADER_BYTES:
        raise EOFError
    count, *offsets = struct.unpack_from(f"<{_MOST_SEGMENTS + 1}I", stream)
    starts = offsets[:count]
    in_order = starts == sorted(starts) and starts[:1] == [_HEADER_BYTES]
    if not 1 <= count <= _MOST_SEGMENTS or not in_order or starts[-1] > len(stream):
        raise EOFError
    clean = np.zeros(len(stream), np.uint8)
    clean[:_HEADER_BYTES] = np.frombuffer(
        struct.pack("<16I", count, *starts, *[0] * (_MOST_SEGMENTS - count)), np.uint8
    )
    tables = byte_tables(layout)
    width = max(1, layout.allocated // 8)
    wanted = layout.samples * width // count
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(stream)], strict=True)):
        # Of each sample the most significant byte comes first.
        table = tables[number % width] if number % width < len(tables) else None
        clean[start:end] = _masked(stream[start:end], wanted, table)
    return clean.tobytes()


def _masked(
    segment: bytes, wanted: int, table: npt.NDArray[np.uint8] | None
) -> npt.NDArray[np.uint8]:
    """The segment with each byte of its runs through the table; zeros behind its last sample."""
    is_count, end = _counts(segment, wanted)
    clean = np.frombuffer(segment, np.uint8).copy()
    clean[end:] = 0
    if table is not None:
        counts = np.frombuffer(is_count, np.bool_)[:end]
        clean[:end] = np.where(counts, clean[:end], table[clean[:end]])
    return clean


def _counts(segment: bytes, wanted: int) -> tuple[bytearray, int]:
    """Which bytes are counts of runs (1), and where the run of the last sample ends.

    Raises:
        EOFError: it ends early, or holds counts of nothing by the thousand.
    """
    is_count = bytearray(len(segment))
    position, made, size, runs, idle = 0, 0, len(segment), 0, 0
    while position < size and made < wanted and runs <= wanted:
        is_count[position] = 1
        runs += 1
        count = segment[position]
        if count < 128:
            made += count + 1
            position += count + 2
        elif count > 128:
            made += 257 - count
            position += 2
        else:
            position += 1
            idle += 1
            if idle > _MOST_IDLE:
                break
    if made < wanted:
        raise EOFError
    return is_count, min(position, size)
