"""Films of a date range by C-FIND and C-MOVE, out of a real PACS that sends to our listener."""

from __future__ import annotations

import io
import re
import socket
import subprocess
import urllib.request

import pydicom
import pytest

from certificates import make
from orthanc import free_port, running_pacs
from served import CXRCLIENT

NEW_YEAR = ("2020-01-01", "2020-01-03")


def test_the_films_of_the_days_and_no_others_come_whole_and_private(filled, pull, tmp_path):
    folder = tmp_path / "films"
    done = pull(filled.dimse, folder, *NEW_YEAR, "--port", filled.our_port)

    assert done.exit_code == 0, done.output
    wanted = filled.of(*NEW_YEAR)
    assert sorted(done.stdout.splitlines()) == sorted(str(film.path(folder)) for film in wanted)
    for film in wanted:
        path = film.path(folder)
        came, sent = (pydicom.dcmread(io.BytesIO(x)) for x in (path.read_bytes(), film.file))
        assert came == sent
        assert path.stat().st_mode & 0o777 == 0o600
    assert len(list(folder.rglob("*.dcm"))) == 4


def test_what_is_there_is_not_sent_again(filled, pull, tmp_path):
    asked = (filled.dimse, tmp_path, *NEW_YEAR, "--port", filled.our_port)
    first = pull(*asked)
    gone = filled.of(*NEW_YEAR)[0].path(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.dcm")}
    gone.unlink()
    again = pull(*asked)

    assert again.stdout == first.stdout
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.dcm")}
    assert {path for path in after if after[path] != before[path]} == {gone}
    assert "1 films pulled, 3 were there already" in again.stderr


def test_another_modality(filled, pull, tmp_path):
    done = pull(filled.dimse, tmp_path, *NEW_YEAR, "--modality", "CT", "--port", filled.our_port)

    (film,) = filled.of(*NEW_YEAR, "CT")
    assert done.stdout.splitlines() == [str(film.path(tmp_path))]


@pytest.mark.parametrize("wrong", ["title", "port"])
def test_a_pacs_that_does_not_know_us_ends_with_5_and_what_to_do(filled, pull, tmp_path, wrong):
    port = free_port() if wrong == "port" else filled.our_port
    aet = "NOBODY" if wrong == "title" else "CXR"

    done = pull(filled.dimse, tmp_path, *NEW_YEAR, "--port", port, "--aet", aet)

    assert (done.exit_code, done.stdout) == (5, ""), done.output
    assert "PACS_REFUSED" in done.stderr
    assert f"It must know {aet} as a destination" in done.stderr


def test_a_pacs_that_is_away_ends_with_5(pull, tmp_path):
    done = pull(f"PACS@127.0.0.1:{free_port()}", tmp_path, *NEW_YEAR, "--port", free_port())

    assert (done.exit_code, done.stdout) == (5, "")
    assert "PACS_UNREACHABLE: PACS@127.0.0.1:" in done.stderr


def test_what_nobody_awaits_is_refused(filled, pull, tmp_path, monkeypatch):
    """Whoever finds our listener can put nothing in."""
    from cxrclient.node.pull import dimse

    (tmp_path / "stray.dcm").write_bytes(filled.films[0].file)
    told = []

    def also_send(self, film, real=dimse.DimsePacs._move):
        command = ["dcmsend", "-v", "-aec", "CXR", "127.0.0.1", str(filled.our_port)]
        told.append(
            subprocess.run([*command, tmp_path / "stray.dcm"], capture_output=True, text=True)
        )
        return real(self, film)

    monkeypatch.setattr(dimse.DimsePacs, "_move", also_send)
    day = "2020-01-01"
    done = pull(filled.dimse, tmp_path / "films", day, day, "--port", filled.our_port)

    assert done.exit_code == 0, done.output
    assert len(told) == 1
    assert "with unknown status  : 1" in told[0].stderr  # 0x0124, not authorised
    assert [path.stem for path in (tmp_path / "films").rglob("*.dcm")] == [
        film.uid for film in filled.of(day, day)
    ]


def test_a_port_that_is_taken_is_said_before_anything_is_asked(filled, pull, tmp_path, monkeypatch):
    monkeypatch.setattr("cxrclient.node.network.addresses.WAIT_S", 0)
    done = pull(filled.dimse, tmp_path, *NEW_YEAR, "--port", filled.pacs.dicom_port)

    assert done.exit_code == 1
    assert f"Nobody can listen on port {filled.pacs.dicom_port}" in done.stderr


def test_after_a_kill_the_same_command_starts_at_once_and_goes_on(filled, pull, tmp_path):
    folder = tmp_path / "films"
    command = ["pull", "--pacs", filled.dimse, "--from", NEW_YEAR[0], "--to", NEW_YEAR[1],
               "--port", str(filled.our_port), folder]  # fmt: skip
    process = subprocess.Popen([CXRCLIENT, *command], stdout=subprocess.PIPE)
    first = process.stdout.readline().decode().strip()
    process.kill()
    process.wait()

    done = pull(filled.dimse, folder, *NEW_YEAR, "--port", filled.our_port)

    assert done.exit_code == 0, done.output
    assert first == done.stdout.splitlines()[0]
    assert len(done.stdout.splitlines()) == 4
    assert "0 were there already" not in done.stderr


def test_over_tls_both_ways_with_certificates_of_both(filled, pull, tmp_path):
    keys = make(tmp_path)
    port = free_port()
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(keys / "server.pem"),
        "DicomTlsPrivateKey": str(keys / "server.key"),
        "DicomTlsTrustedCertificates": str(keys / "ca.pem"),
        "DicomModalities": {
            "us": {"AET": "CXR", "Host": "127.0.0.1", "Port": port, "UseDicomTls": True}
        },
    }
    film = filled.of(*NEW_YEAR)[0]
    ours = []
    for side in ("--peer-tls", "--tls"):
        ours += [f"{side}-ca", keys / "ca.pem", f"{side}-cert", keys / "client.pem",
                 f"{side}-key", keys / "client.key"]  # fmt: skip
    with running_pacs(tmp_path / "pacs", **settings) as pacs:
        url = f"http://127.0.0.1:{pacs.http_port}/instances"
        urllib.request.urlopen(urllib.request.Request(url, film.file), timeout=60).close()
        address = f"{pacs.aet}@127.0.0.1:{pacs.dicom_port}"
        done = pull(address, tmp_path / "films", *NEW_YEAR, "--port", port, *ours)
        plain = pull(address, tmp_path / "others", *NEW_YEAR, "--port", port)

    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [str(film.path(tmp_path / "films"))]
    assert (plain.exit_code, plain.stdout) == (5, "")


def test_nothing_of_a_patient_is_in_what_is_said(filled, pull, tmp_path):
    """Neither where all goes well nor where nothing does, at the loudest."""
    names = {str(pydicom.dcmread(io.BytesIO(film.file)).PatientName) for film in filled.films}
    said = ""
    for aet in ("CXR", "NOBODY"):
        done = pull(filled.dimse, tmp_path / aet, *NEW_YEAR, "--port", filled.our_port,
                    "--aet", aet, "-v", "-v")  # fmt: skip
        said += done.output

    assert "asked again" in said or "studies" in said
    for word in {*names, *(f"P{number}" for number in range(1, 7))}:
        assert not re.search(rf"\b{re.escape(word)}\b", said)


def test_a_film_that_the_pacs_has_lost_does_not_stop_the_others(filled, pull, tmp_path):
    port = free_port()
    lost, *others = filled.of(*NEW_YEAR)
    folder = tmp_path / "pacs"
    ours = {"us": ["CXR", "127.0.0.1", port]}
    with running_pacs(folder, DicomModalities=ours, MaximumStorageCacheSize=0) as pacs:
        for number, film in enumerate((lost, *others)):
            (tmp_path / f"{number}.dcm").write_bytes(film.file)
        pacs.store(*tmp_path.glob("*.dcm"))
        (stored,) = (
            path
            for path in (folder / "store").rglob("*-*")
            if path.is_file()
            and lost.uid.encode() in path.read_bytes()[:2000]
            and path.read_bytes()[128:132] == b"DICM"
        )
        stored.unlink()
        address = f"{pacs.aet}@127.0.0.1:{pacs.dicom_port}"
        done = pull(address, tmp_path / "films", *NEW_YEAR, "--port", port)

    assert done.exit_code == 3, done.output
    assert sorted(done.stdout.splitlines()) == sorted(
        str(film.path(tmp_path / "films")) for film in others
    )
    assert f"{lost.uid}: NOT_PULLED: " in done.stderr


def test_sigterm_ends_it_also_while_the_pacs_says_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pacs = f"PACS@127.0.0.1:{silent.getsockname()[1]}"
        command = ["pull", "--pacs", pacs, "--from", NEW_YEAR[0], "--to", NEW_YEAR[1],
                   "--port", str(free_port()), tmp_path / "films"]  # fmt: skip
        process = subprocess.Popen([CXRCLIENT, *command], stderr=subprocess.PIPE, text=True)
        caller, _ = silent.accept()
        assert caller.recv(1) == b"\x01"  # its A-ASSOCIATE-RQ
        process.terminate()
        _, said = process.communicate(timeout=600)

    assert process.returncode == 130
    assert said.splitlines()[-1] == "Interrupted."
