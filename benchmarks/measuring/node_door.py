"""A whole node as its senders and its PACS see it: rates, memory, a restart, a film's way."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pydicom
from inputs.films import real_film

from cxrclient.node.spool.layout import DATABASE
from cxrclient.node.spool.rows import Rows
from measuring.hardware import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from dicom_senders import Sender
from node_process import NodeProcess, running
from orthanc import free_port, running_pacs
from waiting import eventually

SENDERS = 8


def receiving(folder: Path, films: int) -> dict[str, Any]:
    """Rates of a node whose server is away, so that receiving has the processors for itself.

    Args:
        folder: for the spool and the films.
        films: of 1 MB, over one association; each of the senders has an eighth of so many of 7 MB.
    """
    small, large = _films(folder / "small", films, side=724), _films(folder / "large", films)
    nowhere = f"127.0.0.1:{free_port()}"
    with running(NodeProcess(folder / "away", nowhere, [f"PACS@{nowhere}"], more=())) as node:
        node.wait_accepting()
        sender = Sender(node.port)
        result: dict[str, Any] = {
            "films": films,
            "associations_s": films / _seconds(lambda: [_greet(sender) for _ in range(films)]),
            "films_s": films / _seconds(lambda: _send(node, small)),
            "duplicates_s": films / _seconds(lambda: _send(node, small)),
        }
        shares = [large[first::SENDERS] for first in range(SENDERS)]
        with _PeakMemory(node) as peak:
            taken = _seconds(lambda: _send_at_once(node, shares))
        result |= {"large_films_s": len(large) / taken, "receiver_pss_mb": peak.mb}
        node.kill()
        node.start()
        result["restart_s"] = _seconds(node.wait_accepting)
    return result


def way_of_a_film(folder: Path, server: str, films: int) -> dict[str, Any]:
    """Seconds from a film's acknowledgement until a real PACS was asked and had its results.

    Args:
        folder: for the spool, the films and the PACS.
        server: Triton's address.
        films: one after the other.
    """
    with running_pacs(folder / "pacs") as pacs:
        peer = f"{pacs.aet}@127.0.0.1:{pacs.dicom_port}"
        with running(NodeProcess(folder / "way", server, [peer], more=())) as node:
            node.wait_ready()
            for film in _films(folder / "one by one", films + 2):
                _send(node, [film])
                eventually(node.is_done)
            rows = Rows(node.spool / DATABASE, read_only=True)
            ways = [
                (row["way"], json.loads(row["outcome"])["record"]["latency_ms"] / 1e3)
                for row in rows.all(
                    "SELECT delivered_at - received_at AS way, outcome FROM films JOIN deliveries "
                    "USING (uid) ORDER BY received_at LIMIT -1 OFFSET 2"  # both workers are warm
                )
            ]
            rows.close()
    return {
        "films": films,
        "way_s": statistics.median(way for way, _ in ways),
        "triton_s": statistics.median(triton for _, triton in ways),
        "beside_triton_s": statistics.median(way - triton for way, triton in ways),
    }


def _films(folder: Path, count: int, side: int | None = None) -> list[Path]:
    """The real film under UIDs of its own, whole or its upper left corner."""
    folder.mkdir(parents=True)
    film = pydicom.dcmread(real_film())
    if side is not None:
        corner = film.pixel_array[:side, :side]
        film.Rows, film.Columns, film.PixelData = side, side, corner.tobytes()
    uid, paths = film.SOPInstanceUID[:50], [folder / f"{number}.dcm" for number in range(count)]
    for number, path in enumerate(paths):
        film.SOPInstanceUID = f"{uid}.{side or 0}.{folder.name.count(' ')}.{number}"
        film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
        film.save_as(path)
    return paths


def _greet(sender: Sender) -> None:
    association = sender.associate()
    if not association.is_established:
        raise RuntimeError("the node rejects an association")
    association.release()


def _send(node: NodeProcess, films: list[Path]) -> None:
    """DCMTK's sender, over one association; fails where one film is not acknowledged."""
    command = ["dcmsend", "-aec", node.aet, "127.0.0.1", str(node.port), *map(str, films)]
    subprocess.run(command, check=True, capture_output=True)


def _send_at_once(node: NodeProcess, shares: list[list[Path]]) -> None:
    threads = [threading.Thread(target=_send, args=(node, share)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


class _PeakMemory:
    """The most memory (PSS, MB) of a node's own process, workers apart, in the block."""

    def __init__(self, node: NodeProcess) -> None:
        self.mb = 0.0
        self._process = psutil.Process(node.groups[-1])
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.mb = max(self.mb, self._process.memory_full_info().pss / 1e6)

    def __enter__(self) -> _PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()
