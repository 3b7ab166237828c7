"""An archive and the patient key that it is filled with: one archive, one key.

Under another key the same patient has another name, so films of one patient would pass for films
of two, without a word. An archive keeps a check value of its key; those that were begun without
one have none, and take what they get.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrclient.archive.identity import KEY_FILE_VARIABLE, KEY_VARIABLE, key_check, load_patient_key
from cxrclient.errors import KeyMismatch, UsageError

if TYPE_CHECKING:
    from cxrclient.archive.index import SimilarityIndex


def bind_key(index: SimilarityIndex, key: bytes) -> None:
    """Make `key` the key of an archive without films; make sure that it is that of another.

    Raises:
        KeyMismatch: it is not.
    """
    bind_check(index, key_check(key))


def bind_check(index: SimilarityIndex, check: str) -> None:
    """As `bind_key`, where the check value alone is known."""
    _require(index, check)
    if index.key_check() is None and not len(index):
        index.keep_key_check(check)


def key_of(index: SimilarityIndex) -> bytes:
    """The site's key, where it is that of the archive; none is made.

    Raises:
        UsageError: there is none.
        KeyMismatch: it is another.
    """
    key = load_patient_key(make=False)
    _require(index, key_check(key))
    return key


def has_its_key(index: SimilarityIndex) -> bool:
    """Whether the site's key is here, and not known to be another than the archive's."""
    try:
        key_of(index)
    except UsageError:
        return False
    return True


def _require(index: SimilarityIndex, check: str) -> None:
    """Raise KeyMismatch if the archive is known to have another key."""
    if index.key_check() not in (None, check):
        raise KeyMismatch(
            f"{index.uri} was filled with another patient key. Give that one ({KEY_VARIABLE}, or "
            f"the file in {KEY_FILE_VARIABLE}), or index the films into a new archive."
        )
