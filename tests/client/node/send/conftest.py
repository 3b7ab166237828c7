"""A spool with real results in it, and couriers that run."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

import certificates
from cxrclient.dicom_results import results_of
from cxrclient.node.notes import NOTES
from cxrclient.node.options import NodeOptions
from cxrclient.node.send import couriers
from cxrclient.node.send.couriers import Couriers
from cxrclient.node.send.peers import peers_of
from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.look import spool_status
from cxrclient.node.spool.records import Outcome, ResultObject
from cxrclient.node.spool.spool import Spool
from predicted_film import model, predicted

__all__ = ["model", "predicted"]  # fixtures


class Office:
    """A node without its other parts: films come in analysed, couriers bring their results out."""

    def __init__(self, folder: Path, make: Callable[..., dict[str, bytes]]) -> None:
        self.folder = folder
        self.options = NodeOptions(spool=folder, peers=(), server="")
        self._make, self._open = make, ExitStack()

    def start(self, *peers: str, **more: object) -> None:
        """Start it, or start it again."""
        self.options = replace(self.options, peers=peers, **more)
        made = peers_of(self.options)
        self.spool = self._open.enter_context(Spool(self.folder, [each.name for each in made]))
        self.couriers = Couriers(self.options, self.spool, made)
        self.couriers.start()
        self._open.callback(self.couriers.stop, 20.0)

    def stop(self) -> None:
        """Stop it well."""
        self._open.close()

    def film(self, number: int = 1, clothes: str = "plain") -> dict[str, Path]:
        """Take a film in, and its results; gives their files by kind."""
        uid, study = f"1.2.826.{number}.3", f"1.2.826.{number}.1"
        file, results = self._make(uid, study, clothes)
        self.spool.take(arrival_of(file), file)
        job = self.spool.claim_film(0)
        assert job is not None
        folder = self.spool.results_folder(uid)
        folder.mkdir(parents=True)
        objects = []
        for kind, data in results.items():
            (folder / f"{kind}.dcm").write_bytes(data)
            header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
            objects.append(
                ResultObject(
                    kind,
                    header.SOPInstanceUID,
                    header.SeriesInstanceUID,
                    header.SOPClassUID,
                    f"{kind}.dcm",
                )
            )
        self.spool.finish(job, Outcome("ok", record={"probability": 0.5}, objects=tuple(objects)))
        return {each.kind: folder / each.file for each in objects}

    def deliveries(self, peer: str) -> dict[str, int]:
        """State → how many."""
        return spool_status(self.folder)["deliveries"].get(peer, {})

    def codes(self) -> dict[str, str]:
        """Code → message, of the deliveries that have one."""
        return {row["code"]: row["message"] for row in spool_status(self.folder)["trouble"]}


@pytest.fixture(scope="session")
def made_results(film, predicted, model) -> Callable[..., tuple[bytes, dict[str, bytes]]]:
    """A film of a UID, study and clothes, and the files of its results."""
    made: dict[tuple[str, ...], tuple[bytes, dict[str, bytes]]] = {}

    def make(uid: str, study: str, clothes: str) -> tuple[bytes, dict[str, bytes]]:
        if (uid, study, clothes) not in made:
            file = film(clothes, SOPInstanceUID=uid, StudyInstanceUID=study)
            results = results_of(predicted(film_id=uid), file, model).files()
            made[uid, study, clothes] = file, results
        return made[uid, study, clothes]

    return make


@pytest.fixture
def office(tmp_path, made_results, monkeypatch) -> Iterator[Office]:
    """See Office; it is stopped at the end. It waits less for a peer that is away."""
    monkeypatch.setattr(couriers, "_LONGEST_PAUSE_S", dict.fromkeys(NOTES, 0.3))
    opened = Office(tmp_path / "spool", made_results)
    yield opened
    opened.stop()


@pytest.fixture(scope="session")
def signed(tmp_path_factory) -> Path:
    """A folder of certificates and keys; see `certificates.make`."""
    return certificates.make(tmp_path_factory.mktemp("certificates"))
