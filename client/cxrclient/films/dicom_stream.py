"""A DICOM file, read within bounds: pydicom makes an object of each item of a sequence.

It inflates without a limit, too: a million empty items in 8 MB took 15 s and 700 MB (our
measurement), 2 MB of deflated zeros two gigabytes.
"""

from __future__ import annotations

import io
import threading
import zlib
from typing import BinaryIO

from cxrclient.errors import TooLarge
from cxrclient.films.limits import MAX_READS, refuse_more

_STEP_BYTES = 1 << 18
# One bomb at a time: before it is refused it takes as much as the largest film.
_IN_TURNS = threading.Lock()


class BoundedReader:
    """What pydicom reads from, MAX_READS times.

    Args:
        source: bytes in memory, or an open file.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._read, self.seek, self.tell = source.read, source.seek, source.tell
        self._reads = 0

    def read(self, size: int = -1, /) -> bytes:
        """Give the next bytes.

        Raises:
            TooLarge: these are too many reads; pydicom may make another exception
                of it, so ask `refuse_spent` then.
            EOFError: all that is left is asked for, as pydicom does to inflate it without a limit.
        """
        self._reads += 1
        if self._reads > MAX_READS:
            self.refuse_spent()
        if size < 0:
            raise EOFError
        return self._read(size)

    def refuse_spent(self) -> None:
        """Raise FilmError where there were too many reads."""
        refuse_more(self._reads, MAX_READS, "elements and items")


def inflated(data: bytes, start: int, most: int) -> bytes:
    """Inflate what follows `start`, to `most` bytes at most.

    Raises:
        TooLarge: it would be more.
        EOFError: it ends early.
        zlib.error: it is damaged.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    out = io.BytesIO()  # grows in place, and gives its bytes without a copy
    with _IN_TURNS:
        for at in range(start, len(data), _STEP_BYTES):
            # In pieces, for what is not yet inflated is copied each time.
            piece = data[at : at + _STEP_BYTES]
            while piece and not inflate.eof:
                out.write(inflate.decompress(piece, _STEP_BYTES))
                piece = inflate.unconsumed_tail
                if out.tell() > most:
                    raise TooLarge("The file inflates beyond any film.")
        out.write(inflate.flush())
    if not inflate.eof:
        raise EOFError
    return out.getvalue()
