"""What a file is, by its first bytes."""

from __future__ import annotations

import struct
from typing import Literal

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DICOM_MARK = b"DICM"
PREAMBLE = bytes(128) + _DICOM_MARK
HEAD_BYTES = len(PREAMBLE)

_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR "
    b"US UT UV".split()
)


def file_kind(head: bytes) -> Literal["dicom", "png", "jpeg"] | None:
    """Tell what the first 132 bytes say that a file is; None where it is no film."""
    if head.startswith(PNG_SIGNATURE):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data_set_start(head) or _starts_like_a_data_set(head):
        return "dicom"
    return None


def data_set_start(data: bytes) -> int:
    """Give where the elements of a DICOM file start: behind its preamble, if it has one."""
    return HEAD_BYTES if data[HEAD_BYTES - 4 : HEAD_BYTES] == _DICOM_MARK else 0


def _starts_like_a_data_set(head: bytes) -> bool:
    """DICOM without preamble (old archives): the first element is of group 0002 or 0008."""
    if len(head) < 12:
        return False
    if head[:2] == b"\x00\x08":
        return starts_big_endian(head) and head[4:6] in _VRS
    group, element = struct.unpack_from("<HH", head)
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    implicit_length = int.from_bytes(head[4:8], "little")
    return head[4:6] in _VRS or (group == 0x0008 and implicit_length <= 1024)


def starts_big_endian(head: bytes) -> bool:
    """Tell whether a data set without file meta information is explicit big endian."""
    return head[:2] == b"\x00\x08" and head[2:3] in (b"\0", b"\1") and head[4:6].isalpha()
