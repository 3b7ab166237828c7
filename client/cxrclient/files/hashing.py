"""Hashes of files and texts: the only module that computes one."""

from __future__ import annotations

import hashlib
import hmac
import io
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TypeAlias

from cxrclient.files.regular import open_regular

Bytes: TypeAlias = bytes | bytearray | memoryview


def sha256_of(content: Path | IO[bytes] | Bytes | str | Iterable[Bytes]) -> str:
    """Give a SHA-256 in hex, 64 digits.

    Args:
        content: a path of a regular file, a file that is open for reading (from where it stands),
            bytes, or parts that count as if they were one; or text, which is hashed as UTF-8. A
            `str` is a text, never a path.

    Raises:
        OSError: the file cannot be read.
    """
    match content:
        case str():
            return hashlib.sha256(content.encode()).hexdigest()
        case bytes() | bytearray() | memoryview():
            return hashlib.sha256(content).hexdigest()
        case Path():
            with open_regular(content) as file:
                return sha256_of(file)
        case io.BufferedIOBase() | io.RawIOBase():
            return hashlib.file_digest(content, "sha256").hexdigest()
        case _:
            digest = hashlib.sha256()
            for part in content:
                digest.update(part)
            return digest.hexdigest()


def hmac_sha256_of(content: bytes, key: bytes) -> str:
    """Give the HMAC-SHA-256 in hex: without the key, nobody can find the content by trying."""
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def short_hash(content: bytes, size: int, key: bytes = b"") -> bytes:
    """Give a BLAKE2b hash of `size` bytes (1 to 64), keyed where there is a key of up to 64."""
    return hashlib.blake2b(content, digest_size=size, key=key).digest()
