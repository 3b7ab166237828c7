"""A real PACS for tests: Debian's Orthanc with its DICOMweb plugin, on free ports."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from waiting import HANG_S, eventually

_CHANCE = random.SystemRandom()  # a test may have seeded the other one
_MARKS: list[socket.socket] = []
DICOM_WEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True)
class Pacs:
    """An Orthanc that runs: its address for DICOM and for HTTP, its AE title."""

    dicom_port: int
    http_port: int
    aet: str = "PACS"

    def get(self, path: str, body: object | None = None) -> Any:
        """Ask its REST interface; JSON is given as it is meant."""
        return json.loads(self.read(path, body))

    def read(self, path: str, body: object | None = None) -> bytes:
        """Ask its REST interface; the bytes of the answer."""
        data = json.dumps(body).encode() if body is not None else None
        url = f"http://127.0.0.1:{self.http_port}/{path}"
        request = urllib.request.Request(url, data, {"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=HANG_S) as answer:
            found: bytes = answer.read()
            return found

    def results(self) -> dict[str, Counter[str]]:
        """Study UID → how many objects of each modality are in it."""
        all_series = self.get("series?expand")  # first: a study may come meanwhile
        studies = {each["ID"]: each for each in self.get("studies?expand")}
        found = {
            each["MainDicomTags"]["StudyInstanceUID"]: Counter[str]() for each in studies.values()
        }
        for series in all_series:
            study = studies[series["ParentStudy"]]["MainDicomTags"]["StudyInstanceUID"]
            found[study][series["MainDicomTags"]["Modality"]] += len(series["Instances"])
        return found

    def store(self, *files: Path) -> None:
        """Send files by C-STORE, as a modality does."""
        for file in files:
            told = subprocess.run(
                ["dcmsend", "-v", "-aec", self.aet, "127.0.0.1", str(self.dicom_port), str(file)],
                capture_output=True,
                text=True,
            )
            assert told.returncode == 0, told.stdout + told.stderr


def free_port() -> int:
    """A port that nobody listens on, and that nobody else gets as long as this process lives.

    Not one that the system gives to whoever asks for any: those it may give to another meanwhile.
    """
    while True:
        port = _CHANCE.randrange(20_000, 32_000)
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark.bind(f"\0port {port} of a test")  # no file: it ends with this process
            with socket.create_server(("127.0.0.1", port)):
                pass
        except OSError:
            mark.close()
            continue
        _MARKS.append(mark)
        return port


def peer_of(pacs: Pacs) -> str:
    """As for --peer of a node."""
    return f"{pacs.aet}@127.0.0.1:{pacs.dicom_port}"


@contextmanager
def running_pacs(folder: Path, **more: object) -> Iterator[Pacs]:
    """Start an Orthanc with its data below a folder; `more` is added to its configuration.

    With `DicomPort` and `HttpPort` it comes back where another one was.
    """
    if (program := shutil.which("Orthanc")) is None or not DICOM_WEB.exists():
        pytest.skip("no Orthanc: apt-get install orthanc orthanc-dicomweb (the Debian packages)")
    ports = [int(str(more.get(name) or free_port())) for name in ("DicomPort", "HttpPort")]
    pacs = Pacs(*ports)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "Name": "pacs", "DicomAet": pacs.aet, "DicomPort": pacs.dicom_port,
        "HttpPort": pacs.http_port, "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"), "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True, "UnknownSopClassAccepted": True, "StableAge": 1,
        "Plugins": [str(DICOM_WEB)], "DicomWeb": {"Enable": True}, **more,
    }  # fmt: skip
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(configuration)], stdout=log, stderr=log)

    def up() -> bool:
        assert process.poll() is None, (folder / "orthanc.log").read_text()
        try:
            pacs.get("system")
        except OSError:
            return False
        return True

    try:
        eventually(up, "no Orthanc")
        yield pacs
    finally:
        process.terminate()
        process.wait(HANG_S)
