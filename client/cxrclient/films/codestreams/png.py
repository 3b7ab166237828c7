"""PNG as a sequence of chunks: what decoding needs, and nothing else. No pixel is decoded here."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cxrclient.errors import MultiFrame
from cxrclient.films.kinds import PNG_SIGNATURE
from cxrclient.films.limits import MAX_CHUNKS, refuse_more

# Source: PNG specification, third edition, section 11.2 and 11.3.1 (tRNS changes the samples).
_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def clean_png(data: bytes) -> bytes:
    """Give the same PNG as `bare_png`, if it is one picture.

    Raises:
        EOFError: the file ends too early.
        FilmError: `MULTI_FRAME` for an animation, `TOO_LARGE` where it has more chunks than any
            film.
    """
    if any(is_animation(data, *chunk) for chunk in png_chunks(data)):
        raise MultiFrame("The PNG is an animation. Save the one frame that is the film.")
    return bare_png(data)


def is_animation(data: bytes, kind: bytes, start: int, end: int) -> bool:
    """Tell whether a chunk says that the PNG has several frames."""
    return kind == b"acTL" and int.from_bytes(data[start + 8 : end - 4][:4], "big") > 1


def bare_png(data: bytes) -> bytes:
    """Give the same PNG with IHDR, PLTE, tRNS, IDAT and IEND only, and nothing after IEND.

    libpng inflates each text and profile, and keeps a thousand of 8 MB.

    Raises:
        EOFError: the file ends too early.
        TooLarge: it has more chunks than any film.
    """
    chunks = list(png_chunks(data))
    if chunks[-1][2] == len(data) and all(kind in _KEPT for kind, _, _ in chunks):
        return data
    view = memoryview(data)
    kept = (view[start:end] for kind, start, end in chunks if kind in _KEPT)
    return b"".join((PNG_SIGNATURE, *kept))


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Give kind, start and end of each chunk, up to and with IEND.

    Raises:
        EOFError: the file ends before.
        TooLarge: it has more chunks than any film.
    """
    at, count, kind = len(PNG_SIGNATURE), 0, b""
    while kind != b"IEND":
        count += 1
        refuse_more(count, MAX_CHUNKS, "chunks")
        if at + 12 > len(data):
            raise EOFError
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise EOFError
        yield kind, at, end
        at = end
