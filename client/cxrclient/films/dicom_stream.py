"""A DICOM file, read within bounds: pydicom makes an object of each item of a sequence.

The server refuses the same by itself (`cxrexport.preprocessing.bounded`): it must hold against
files that no client of ours has seen.
"""

from __future__ import annotations

import io
import threading
import zlib
from typing import BinaryIO

from cxrclient.errors import FilmError

__all__ = [
    "MAX_READS",
    "MAX_SEQUENCE_BYTES",
    "MAX_VALUE_BYTES",
    "BoundedReader",
    "inflated",
    "refuse_more",
]

# A film takes pydicom some 350 reads: it reads each element, item and fragment by itself. The most
# in 233 files of pydicom and pydicom-data are 3,559.
MAX_READS = 30_000
# A hundred look-up tables of 65,536 entries (PS3.3 C.11.1.1.1), with what is said of them.
MAX_SEQUENCE_BYTES = 16 << 20
# A thousand numbers of 16 characters (PS3.5 6.2).
MAX_VALUE_BYTES = 16_384

_STEP_BYTES = 1 << 18
# One bomb at a time: before it is refused it takes as much as the largest film.
_IN_TURNS = threading.Lock()


def refuse_more(count: int, most: int, of: str) -> None:
    """Raise FilmError, `TOO_LARGE` (rejected), where there is more than any film has."""
    if count > most:
        raise FilmError(
            "TOO_LARGE",
            f"The file has more than {most:,} {of}, and no film has. Export the film again.",
            status="rejected",
        )


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
            FilmError: `TOO_LARGE`, these are too many reads; pydicom may make another exception
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
        FilmError: `TOO_LARGE` where it would be more.
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
                    raise FilmError(
                        "TOO_LARGE", "The file inflates beyond any film.", status="rejected"
                    )
        out.write(inflate.flush())
    if not inflate.eof:
        raise EOFError
    return out.getvalue()
