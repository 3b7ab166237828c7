"""The checksum that a film carries from the archive's door on: by it, a flipped bit is found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cxrclient.files import short_hash

if TYPE_CHECKING:
    from cxrclient.archive.milvus.rows import ArchivedFilm

CHECKSUM_MAX = 16


def checksum(film: ArchivedFilm) -> str:
    """Of all that the archive has of a film, as it is read: 16 digits in hex.

    It is no secret and keeps none: who changes a film on purpose can change it too.
    """
    # Read once more, for a tuple comes back as a list, and a number as a name as its text.
    about = json.dumps(json.loads(json.dumps(film.about())), sort_keys=True)
    content = b"\0".join((film.id.encode(), about.encode(), film.embedding.tobytes()))
    return short_hash(content, CHECKSUM_MAX // 2).hex()
