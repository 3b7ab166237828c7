"""Where a spool has what.

    SPOOL/films/AB/UID.dcm            each film that was taken
    SPOOL/results/AB/UID/             its results; `outcome.json`, written last, makes them whole
    SPOOL/node.sqlite                 rows: what is to be done
    SPOOL/.room                       1 MB that a start on a full disk has

`AB` is the start of a digest of the UID, so that no folder grows without end.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from cxrclient.files import private_folder, sha256_of, sync_folder, write_whole
from cxrclient.node.spool.records import Arrival, Outcome

OUTCOME = "outcome.json"
DATABASE = "node.sqlite"


def make_folders(spool: Path) -> None:
    """Make those of films and results, on the disk before there is a film in them.

    Raises:
        OSError: the disk refuses.
    """
    for name in ("films", "results"):
        private_folder(spool / name)
    for number in range(256):
        private_folder(spool / "films" / f"{number:02x}")
    sync_folder(spool / "films")
    sync_folder(spool)


def film_path(spool: Path, uid: str) -> Path:
    """Where a film's file is."""
    return spool / "films" / _short(uid) / f"{uid}.dcm"


def results_folder(spool: Path, uid: str) -> Path:
    """Where a film's results belong; made by who writes the first one."""
    return spool / "results" / _short(uid) / uid


def write_outcome(spool: Path, arrival: Arrival, outcome: Outcome) -> None:
    """Write what became of a film, which makes its results whole.

    Args:
        spool: folder of the spool.
        arrival: the film.
        outcome: what became of it.

    Raises:
        OSError: the disk refuses.
    """
    folder = results_folder(spool, arrival.uid)
    private_folder(folder)
    told = {"arrival": asdict(arrival), "outcome": outcome.as_json()}
    write_whole(folder / OUTCOME, json.dumps(told), secret=True)


def remove_files(spool: Path, uid: str) -> None:
    """Remove a film, then its results; what became of it stays. Nothing is written.

    The film is first: where it is gone, a start takes the rest (`opening.restore`).

    Raises:
        OSError: the disk refuses.
    """
    film_path(spool, uid).unlink(missing_ok=True)
    for path in results_folder(spool, uid).glob("*"):
        if path.name != OUTCOME:
            path.unlink()


def _short(uid: str) -> str:
    """The folder, of 256, that a film belongs to."""
    return sha256_of(uid.encode())[:2]
