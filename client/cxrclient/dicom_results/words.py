"""Our own words in objects and pictures: plain letters, which every character set and font has."""

from __future__ import annotations

import unicodedata


def plain(words: str, most: int = 1024) -> str:
    """Words in ASCII, without accents, on one line, and without DICOM's separator of values.

    Args:
        words: of a model, a recipe or a server.
        most: characters; more are left out.
    """
    letters = unicodedata.normalize("NFKD", " ".join(words.split()))
    kept = "".join(each for each in letters if not unicodedata.combining(each))
    return kept.encode("ascii", "replace").decode().replace("\\", "/")[:most]
