"""A DICOM object, read by pydicom within bounds.

pydicom makes an object of each item and inflates without a limit: a million empty items in 8 MB
took 15 s and 700 MB (our measurement), 2 MB of deflated zeros two gigabytes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

from cxrexport.errors import NotReadable, TooLarge
from cxrexport.preprocessing.limits import (
    MAX_READS,
    MAX_SEQUENCE_BYTES,
    MAX_VALUE_BYTES,
    refuse_more,
)
from cxrexport.preprocessing.structure import TRUNCATED

__all__ = ["BoundedStream", "inflated_object", "read_items", "refuse_long_values"]

_DEFLATED, _EXPLICIT = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0"
_TRANSFER_SYNTAX = 0x0010
# Source: PS3.5 7.1.2. Their length takes four bytes.
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_PREFIX_BYTES = 132
_STEP_BYTES = 1 << 18


class BoundedStream(io.BytesIO):
    """What pydicom reads from, for MAX_READS reads: it reads each element and item by itself."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Give the next bytes.

        Raises:
            TooLarge: these are too many reads; pydicom may make another exception of it.
            NotReadable: all that is left is asked for, as pydicom does to inflate it.
        """
        self.reads += 1
        if self.reads > MAX_READS:
            self.refuse_spent()
        if size is None or size < 0:
            raise NotReadable(TRUNCATED)
        return super().read(size)

    def refuse_spent(self) -> None:
        """Raise TooLarge where there were too many reads."""
        refuse_more(self.reads, MAX_READS, "elements and items")


def read_items(dataset: Any, key: str | int) -> Any:
    """Read a sequence, by keyword or tag, as `dataset[key]` would, but within bounds.

    Returns:
        Its items, pydicom Datasets; they are in `dataset` from now on. None where there are none.

    Raises:
        TooLarge: it has more items or bytes than any film's.
    """
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.filereader import read_sequence

    if key not in dataset:
        return None
    raw = dataset.get_item(key)
    if isinstance(raw, RawDataElement):
        value = raw.value or b""
        refuse_more(len(value), MAX_SEQUENCE_BYTES, "bytes in a sequence")
        stream = BoundedStream(value)
        try:
            items = read_sequence(
                stream, raw.is_implicit_VR, raw.is_little_endian, len(value), "iso8859"
            )
        except Exception:
            stream.refuse_spent()
            raise
        dataset[raw.tag] = DataElement(raw.tag, "SQ", items)
    return dataset[key].value or None


def refuse_long_values(
    dataset: Any, keys: Iterable[str | int], most: int = MAX_VALUE_BYTES
) -> None:
    """Raise TooLarge where one of these values is longer than `most` bytes; pydicom reads none.

    pydicom makes objects of all numbers in a value, and items where its VR says SQ.
    """
    for key in keys:
        if key in dataset:
            value = getattr(dataset.get_item(key), "value", None)
            if isinstance(value, bytes):
                refuse_more(len(value), most, "bytes in one of its values")


def inflated_object(encoded: bytes, most: int) -> bytes:
    """Give a deflated object as one of explicit VR, little endian; any other as it is.

    Args:
        encoded: the file, with or without preamble.
        most: bytes that it may inflate to.

    Raises:
        TooLarge: it inflates to more.
        NotReadable: it ends early, or is damaged.
    """
    syntax, start = _file_meta(encoded)
    if syntax.strip(b"\0 ") != _DEFLATED:
        return encoded
    uid = struct.pack("<HH2sH", 2, _TRANSFER_SYNTAX, b"UI", len(_EXPLICIT)) + _EXPLICIT
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(uid))
    out = io.BytesIO()  # grows in place, and gives its bytes without a copy
    out.write(bytes(128) + b"DICM" + length + uid)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for at in range(start, len(encoded), _STEP_BYTES):
            # In pieces, for what is not yet inflated is copied each time.
            piece = encoded[at : at + _STEP_BYTES]
            while piece and not inflate.eof:
                out.write(inflate.decompress(piece, _STEP_BYTES))
                piece = inflate.unconsumed_tail
                if out.tell() > most:
                    raise TooLarge("it inflates to more than any film has; export the film again")
        out.write(inflate.flush())
    except zlib.error:
        raise NotReadable(TRUNCATED) from None
    if not inflate.eof:
        raise NotReadable(TRUNCATED)
    return out.getvalue()


def _file_meta(encoded: bytes) -> tuple[bytes, int]:
    """Give the transfer syntax, empty where there is none, and where the data set starts.

    What an element says of its length is believed as pydicom believes it, the group's is not.
    """
    at = _PREFIX_BYTES if encoded[128:132] == b"DICM" else 0
    syntax, count = b"", 0
    while encoded[at : at + 2] == b"\2\0" and at + 12 <= len(encoded):
        count += 1
        refuse_more(count, MAX_READS, "elements")
        element, vr, length = struct.unpack_from("<H2sH", encoded, at + 2)
        value = at + 8
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from("<I", encoded, value)
            value += 4
        if element == _TRANSFER_SYNTAX:
            syntax = encoded[value : value + min(length, MAX_VALUE_BYTES)]
        at = value + length
    return syntax, at
