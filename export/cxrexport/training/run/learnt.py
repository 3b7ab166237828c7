"""Which films a run learnt from, so that it is never judged on them by mistake."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from cxrclient.files import TableFault, sha256_of, write_whole
from cxrexport.manifest import FilmRow
from cxrexport.training.run.folder import Run, read_json

_FILE = "films.json"
LEARNT = ("train", "validation")


def note_films(run: Run, networks: Iterable[str], rows: Sequence[FilmRow]) -> None:
    """Write down, with each network, the digests of the films that it learns from or is chosen by.

    Args:
        run: the run.
        networks: that are about to be trained.
        rows: with splits.
    """
    digests = sorted(sha256_of(row.image) for row in rows if row.split in LEARNT)
    for network in networks:
        folder = run.folder(network).path
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _FILE, json.dumps(digests, indent=0) + "\n")


def films_learnt_from(run: Run, networks: Iterable[str]) -> frozenset[str] | None:
    """Sha256 of the files that any of these networks learnt from or was chosen by.

    Returns:
        None if no network says so: trained before this was noted, or in a study.
    """
    noted = [path for name in networks if (path := run.folder(name).path / _FILE).is_file()]
    if not noted:
        return None
    return frozenset(digest for path in noted for digest in read_json(path))


def problems_of_learnt_films(
    rows: Iterable[FilmRow], manifest: Path, learnt: frozenset[str]
) -> list[TableFault]:
    """Name the films that are to be judged and that the networks know."""
    what = (
        "the networks learnt from this film; evaluate with the splits that they were trained with, "
        "or leave it out"
    )
    return [
        TableFault(manifest, row.row, "image", what, "LEARNT")
        for row in rows
        if row.split not in LEARNT and sha256_of(row.image) in learnt
    ]
