"""A film becomes its results, with the real server, whatever befalls its worker."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from cxrclient.dicom_results import results_of
from cxrclient.node.spool import spool as module
from cxrclient.node.spool.records import Outcome
from cxrclient.node.work.child import Child
from cxrclient.wire import CxrClient
from secrets_of_a_patient import NAME, SECRETS, found_in
from waiting import eventually


def outcome_of(row: dict) -> Outcome:
    return Outcome.of_json(json.loads(row["outcome"]))


def turned(file: bytes, uid: str) -> bytes:
    """The film on its side, which the gate turns away."""
    dataset = pydicom.dcmread(io.BytesIO(file))
    pixels = np.rot90(dataset.pixel_array)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData, dataset.SOPInstanceUID = pixels.tobytes(), uid
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def halved(file: bytes) -> bytes:
    """The film without its lower half: there are fewer pixels than its header says."""
    dataset = pydicom.dcmread(io.BytesIO(file))
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


PATIENT = {
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientName": NAME,
    "PatientID": SECRETS["number"],
    "PatientBirthDate": SECRETS["birth date"],
    "AccessionNumber": SECRETS["accession"],
    "InstitutionName": SECRETS["institution"],
    "StudyDescription": SECRETS["text"],
}


def test_each_film_gets_what_it_deserves(node, working, triton_server, film, caplog, capfd) -> None:
    """One worker and three films: one is analysed, one turned away, one cannot be read."""
    caplog.set_level(logging.DEBUG)
    file = film(**PATIENT)
    good = node.takes(file)
    rejected = node.takes(turned(file, "1.2.826.0.2.1"))
    unreadable = node.takes(halved(film(SOPInstanceUID="1.2.826.0.2.2", **PATIENT)))

    with working(triton_server.grpc_address, gsps=True) as workers:
        row = node.ends(good)
        outcome = outcome_of(row)
        assert (row["state"], row["status"], row["distance"]) == ("analysed", "ok", 1.5)
        assert bool(row["positive"]) == (outcome.record["label"] == "covid")
        assert len(outcome.record["embedding"]) == 128
        assert "path" not in outcome.record or outcome.record["path"] is None
        assert [each.kind for each in outcome.objects] == ["sr", "seg", "sc", "gsps"]
        with CxrClient(triton_server.grpc_address) as cxr:
            made = results_of(cxr.predict(file, maps=True), file, cxr.model, gsps=True)
        for each in outcome.objects:
            path = node.spool.results_folder(good) / each.file
            assert path.read_bytes() == made.files()[each.kind]
            assert path.stat().st_mode & 0o777 == 0o600
            told = pydicom.dcmread(path, stop_before_pixels=True)
            assert (each.uid, each.series_uid, each.sop_class) == (
                told.SOPInstanceUID,
                told.SeriesInstanceUID,
                told.SOPClassUID,
            )

        row = node.ends(rejected)
        assert (row["state"], row["status"], row["code"]) == ("analysed", "rejected", "NO_LUNGS")
        assert [each.kind for each in outcome_of(row).objects] == ["sr"]
        assert node.results(rejected) == {"sr.dcm", "outcome.json"}

        row = node.ends(unreadable)
        assert (row["state"], row["code"], row["attempts"]) == ("failed", "TOO_LARGE", 0)
        assert outcome_of(row).record["code"] == "TOO_LARGE"
        assert node.results(unreadable) == {"outcome.json"}

        assert workers.server_state()[0]

    assert found_in((node.spool.results_folder(good) / "sr.dcm").read_bytes())  # their own place
    said = "".join((caplog.text, *capfd.readouterr())).encode()
    kept = [path for path in node.folder.rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert not found_in(said + b"".join(path.read_bytes() for path in kept))


def test_a_worker_that_is_killed_over_a_film_is_followed_by_one_that_finishes_it(
    node, working, wire, film
) -> None:
    wire.hold_after(10_000)
    uid = node.takes(film())
    with working(wire.address) as workers:
        eventually(wire.holds.is_set)
        (first,) = workers.pids
        os.kill(first, signal.SIGKILL)
        assert node.has_code(uid, "WORKER_DIED")["attempts"] == 1
        wire.flow()
        assert node.ends(uid)["state"] == "analysed"
        assert workers.pids != [first]


def test_a_film_that_ends_its_worker_three_times_has_failed_and_the_next_is_analysed(
    node, working, wire, films, monkeypatch
) -> None:
    poison, other = films(2)
    asked, ask = [], Child.ask

    def counted(self, question, limit_s):
        asked.extend(["film"] * ("film" in question))
        return ask(self, question, limit_s)

    monkeypatch.setattr(Child, "ask", counted)
    with working(wire.address) as workers:
        wire.hold_after(10_000)
        uid = node.takes(poison)
        for tries in (1, 2, 3):
            eventually(wire.holds.is_set)  # perhaps by the rest of what the last one sent
            eventually(lambda n=tries: len(asked) == n)
            wire.holds.clear()
            if tries < 3:
                wire.hold_after(10_000)
            (pid,) = workers.pids
            os.kill(pid, signal.SIGKILL)
            wire.flow()
            eventually(lambda n=tries: n == 3 or node.row(uid)["attempts"] == n)
        row = node.ends(uid)
        assert (row["state"], row["code"]) == ("failed", "WORKER_DIED")
        assert "SIGKILL" in row["message"]
        assert node.ends(node.takes(other))["state"] == "analysed"


def test_a_worker_that_hangs_is_ended(node, working, wire, film) -> None:
    wire.hold_after(10_000)
    uid = node.takes(film())
    with working(wire.address, limit_s=6) as workers:
        eventually(wire.holds.is_set)
        (first,) = workers.pids
        row = node.has_code(uid, "WORKER_DIED")
        assert (row["attempts"], "took longer than 6 s" in row["message"]) == (1, True)
        wire.flow()
        assert not Path(f"/proc/{first}").exists()


def test_a_disk_that_refuses_results_costs_nothing_but_time(
    node, working, triton_server, film
) -> None:
    with working(triton_server.grpc_address) as workers:
        eventually(lambda: workers.server_state()[0])
        (pid,) = workers.pids
        no_limit = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        # The report is written, and the picture is not.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (20_000, no_limit[1]))
        uid = node.takes(film())
        row = node.has_code(uid, "SPOOL_FAILED")
        assert (row["state"], row["attempts"]) == ("waiting", 0)
        assert node.results(uid) == set()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, no_limit)
        assert node.ends(uid)["state"] == "analysed"
        assert node.results(uid) == {"sr.dcm", "seg.dcm", "sc.dcm", "outcome.json"}


def test_a_disk_that_refuses_the_outcome_costs_nothing_but_time(
    node, working, triton_server, film, monkeypatch
) -> None:
    write, refused = module.write_outcome, []

    def full(*arguments: Any, **options: Any) -> None:
        if not refused:
            refused.append(arguments)
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*arguments, **options)

    monkeypatch.setattr(module, "write_outcome", full)
    uid = node.takes(film())
    with working(triton_server.grpc_address):
        assert node.ends(uid)["state"] == "analysed"
    assert refused
