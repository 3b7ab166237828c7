"""A real PACS with films of several days, of which one object is no radiograph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cxrclient.cli.app import app
from orthanc import Pacs, free_port, running_pacs

AET = "CXR"
ROOT = "1.2.826.0.1.3680043.9.7.1"


@dataclass(frozen=True)
class Stored:
    """A film in the PACS."""

    day: str
    modality: str
    study: str
    uid: str
    file: bytes

    def path(self, folder: Path) -> Path:
        """Where `pull` puts it."""
        return folder / self.study / f"{self.uid}.dcm"


@dataclass(frozen=True)
class FilledPacs:
    """A PACS, what is in it, and the port at which it knows us."""

    pacs: Pacs
    films: list[Stored]
    our_port: int

    @property
    def url(self) -> str:
        """Of its DICOMweb."""
        return f"http://127.0.0.1:{self.pacs.http_port}/dicom-web"

    @property
    def dimse(self) -> str:
        """Its AE title, host and port."""
        return f"{self.pacs.aet}@127.0.0.1:{self.pacs.dicom_port}"

    def of(self, first: str, last: str, *modalities: str) -> list[Stored]:
        """Those of a date range, written as 2020-01-31."""
        days = first.replace("-", ""), last.replace("-", "")
        return [
            film
            for film in self.films
            if days[0] <= film.day <= days[1] and film.modality in (modalities or ("CR", "DX"))
        ]


@pytest.fixture(scope="session")
def filled(
    film: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FilledPacs]:
    """Three days in the middle of which a study has two films, a day on either side, a CT."""
    days = [("20191231", "DX", 1), ("20200101", "CR", 2), ("20200102", "DX", 3),
            ("20200102", "DX", 3), ("20200102", "CT", 4), ("20200103", "DX", 5),
            ("20200104", "CR", 6)]  # fmt: skip
    films = []
    for number, (day, modality, study) in enumerate(days):
        uid = f"{ROOT}.{study}.{number}"
        data = film(
            StudyDate=day, Modality=modality, StudyInstanceUID=f"{ROOT}.{study}",
            SeriesInstanceUID=f"{ROOT}.{study}.9.{number}", SOPInstanceUID=uid,
            PatientID=f"P{study}",
        )  # fmt: skip
        films.append(Stored(day, modality, f"{ROOT}.{study}", uid, data))
    folder = tmp_path_factory.mktemp("pacs")
    files = []
    for each in films:
        files.append(folder / f"{each.uid}.dcm")
        files[-1].write_bytes(each.file)
    port = free_port()
    with running_pacs(folder, DicomModalities={"us": [AET, "127.0.0.1", port]}) as pacs:
        pacs.store(*files)
        yield FilledPacs(pacs, films, port)


@pytest.fixture
def pull() -> Callable[..., Result]:
    """Run the command; `--retry-for 0` unless told otherwise."""

    def run(pacs: str, folder: Path, first: str, last: str, *more: object) -> Result:
        words = ["--pacs", pacs, "--from", first, "--to", last, *map(str, more), str(folder)]
        if "--retry-for" not in more:
            words += ["--retry-for", "0"]
        return CliRunner().invoke(app, ["pull", *words])

    return run
