"""UIDs that follow from what an object holds: the same film and model, the same UID and bytes."""

from __future__ import annotations

import uuid

from cxrclient.files import sha256_of


def uid_of(kind: str, *parts: str | bytes) -> str:
    """Make a UID of parts: `2.25.` and a UUIDv8 of their sha256.

    Args:
        kind: what it is a UID of.
        parts: in an order that means something; each counts with its length.

    Source: DICOM PS3.5 annex B.2; RFC 9562 section 5.8.
    """
    encoded = [part.encode() if isinstance(part, str) else part for part in (kind, *parts)]
    told = [piece for part in encoded for piece in (len(part).to_bytes(8, "big"), part)]
    number = bytearray(bytes.fromhex(sha256_of(told))[:16])
    number[6] = 0x80 | number[6] & 0x0F
    number[8] = 0x80 | number[8] & 0x3F
    return f"2.25.{uuid.UUID(bytes=bytes(number)).int}"
