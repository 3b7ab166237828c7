"""What `doctor` finds around a server: configuration file, patient key, archive."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cxrclient.errors import ArchiveError, KeyMismatch, UsageError
from cxrclient.serving import Check, disk_of

if TYPE_CHECKING:
    from cxrclient.archive import SimilarityIndex
    from cxrclient.cli.options.archive import Access


def configuration_check() -> Check:
    """Name the configuration file, and what it sets.

    Raises:
        UsageError: it cannot be used.
    """
    from cxrclient.settings import config_file, read_config

    told = read_config()
    keys = ", ".join(sorted(told)) or "nothing"
    path = config_file()
    return Check("configuration", "note" if path is None else "ok",
                 "no file" if path is None else f"{path} sets {keys}")  # fmt: skip


def key_check() -> Check:
    """Judge the key that hashes patients' numbers, without making one."""
    from cxrclient.archive import load_patient_key, patient_key_place

    place = patient_key_place()
    subject = "patient key"
    if isinstance(place, Path) and not place.exists():
        return Check(subject, "note", f"none yet; the first `index` makes one at {place}")
    try:
        load_patient_key(make=False)
    except UsageError as error:
        return Check(subject, "wrong", error.message)
    return Check(subject, "ok", f"{place}; keep a copy of it, apart from the archive")


def archive_checks(uri: str, access: Access, model_digest: str | None) -> Iterator[Check]:
    """Open an archive and judge what can be seen without looking at each film.

    Args:
        uri: of the archive.
        access: what it takes to get in.
        model_digest: of the repository, or None.
    """
    from cxrclient.archive import SimilarityIndex

    subject = "archive"
    try:
        with SimilarityIndex(uri, model_digest=None, create=False, **access) as index:
            yield _archive(index, subject, model_digest)
            yield _its_key(index)
    except (ArchiveError, UsageError) as error:
        yield Check(subject, "wrong", error.message)
        return
    if not uri.startswith(("http://", "https://")):
        path = Path(uri).resolve()
        # A migration, or a copy of it, needs its size once more.
        yield disk_of(path.parent, 2 * path.stat().st_size, "migration and backup of the archive")


def _archive(index: SimilarityIndex, subject: str, model_digest: str | None) -> Check:
    found = f"{index.uri}: {len(index)} films of the model {index.model_digest[:12]}"
    verify = f"`cxrclient archive verify --uri {index.uri}` looks at each film"
    if model_digest in (None, index.model_digest):
        return Check(subject, "ok", f"{found}; {verify}")
    mend = shlex.join(["cxrclient", "archive", "migrate", "FILMS", "--uri", index.uri])
    lack = f"{found}, the repository is of {str(model_digest)[:12]}: nothing can be searched"
    return Check(subject, "wrong", lack, mend)


def _its_key(index: SimilarityIndex) -> Check:
    from cxrclient.archive import key_of

    subject = "archive's key"
    try:
        key_of(index)
    except KeyMismatch as error:
        return Check(subject, "wrong", error.message)
    except UsageError as error:
        return Check(subject, "note", f"cannot be compared: {error.message}")
    known = index.key_check() is not None
    return Check(subject, "ok" if known else "note",
                 "the patient key is its own" if known else "it keeps none to compare")  # fmt: skip
