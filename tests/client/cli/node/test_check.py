"""`cxrclient node check`: each thing that a node needs, there and not there."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cxrclient.cli.app import app
from cxrclient.node.spool.spool import Spool
from orthanc import Pacs, free_port, running_pacs


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    """A PACS that wants to be called by its name."""
    folder = tmp_path_factory.mktemp("pacs")
    with running_pacs(folder, DicomCheckCalledAet=True) as found:
        yield found


def check(*words: object, spool: Path) -> Result:
    """Run it on free ports."""
    ports = ("--port", free_port(), "--http-port", free_port())
    given = ("node", "check", "--spool", spool, *ports, *words)
    return CliRunner().invoke(app, [*map(str, given)], env={"COLUMNS": "160"})


def found(done: Result) -> dict[str, dict[str, str]]:
    return {each["subject"]: each for each in json.loads(done.stdout)["checks"]}


def test_where_nothing_is_each_lack_is_a_line_with_what_to_do(tmp_path):
    nobody = f"127.0.0.1:{free_port()}"
    done = check("--peer", f"PACS@{nobody}", "--peer", f"http://{nobody}/dicom-web",
                 "--server", nobody, spool=tmp_path / "spool")  # fmt: skip
    assert done.exit_code == 5, done.output
    lines = done.stdout.splitlines()
    wrong = [line for line in lines if line.startswith("wrong")]
    assert [line.split(": ")[0] for line in wrong] == [
        f"wrong  Triton {nobody}",
        f"wrong  peer PACS@{nobody}",
        f"wrong  peer http://{nobody}/dicom-web",
    ]
    assert all("       Start it, or mend its address" in line
               for line in (lines[lines.index(each) + 1] for each in wrong[1:]))  # fmt: skip
    assert f"ok     spool: {tmp_path / 'spool'} is not there yet; the node makes it" in lines
    assert not (tmp_path / "spool").exists()


def test_where_all_is_there_nothing_is_wrong(tmp_path, pacs, triton_server, certificates):
    Spool(tmp_path / "spool").close()
    done = check(
        *("--peer", f"{pacs.aet}@127.0.0.1:{pacs.dicom_port}"),
        *("--peer", f"http://127.0.0.1:{pacs.http_port}/dicom-web"),
        *("--server", triton_server.grpc_address, "--min-free", 0),
        *("--tls-cert", certificates / "server.pem", "--tls-key", certificates / "server.key"),
        spool=tmp_path / "spool",
    )
    assert done.exit_code == 0, done.output
    assert "wrong " not in done.stdout
    assert "no node works with it now" in done.stdout
    assert "note   certificate of the listeners: " in done.stdout  # it ends in two days
    assert done.stdout.endswith("Nothing is wrong.\n")


def test_a_peer_that_does_not_let_us_in_is_said_to(tmp_path, pacs):
    done = check(
        *("--peer", f"OTHER@127.0.0.1:{pacs.dicom_port}", "--server", "127.0.0.1:1"),
        *("--format", "json"),
        spool=tmp_path / "spool",
    )
    told = found(done)[f"peer OTHER@127.0.0.1:{pacs.dicom_port}"]
    assert told["verdict"] == "wrong"
    assert told["mend"].startswith("Make our AE title or token known to the peer")


def lacks(tmp_path: Path, *words: object, spool: Path | None = None) -> dict[str, dict[str, str]]:
    """What it finds where neither Triton nor the peer is."""
    nobody = ("--peer", "PACS@127.0.0.1:1", "--server", "127.0.0.1:1", "--format", "json")
    done = check(*nobody, *words, spool=spool or tmp_path / "spool")
    assert done.exit_code == 5, done.output
    return found(done)


def test_a_port_is_free_or_taken_by_the_node_itself(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = lacks(tmp_path, "--port", port)[f"DICOM port {port}"]
        assert told["verdict"] == "wrong"
        assert told["mend"] == "Stop the program that has it, or give another port."
        with Spool(tmp_path / "spool"):
            both = lacks(tmp_path, "--port", port)
        assert both[f"DICOM port {port}"]["verdict"] == "ok"
        assert "a node works with it now" in both["spool"]["finding"]


def test_an_address_of_another_machine_cannot_be_listened_on(tmp_path):
    (tmp_path / "token").write_text("a-token")
    token = ("--results-token-file", tmp_path / "token")
    told = lacks(tmp_path, "--host", "192.0.2.7", "--allow", "PACS", "--port", 11112, *token)
    assert told["DICOM port 11112"]["mend"] == "Give an address of this machine with --host."


def test_a_disk_with_too_little_room_is_wrong(tmp_path):
    told = lacks(tmp_path, "--min-free", 10**9)["disk of the spool"]
    assert told["verdict"] == "wrong"
    assert " GB free, 1,000,000.0 GB wanted" in told["finding"]


def test_a_spool_that_is_a_file_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    told = lacks(tmp_path, spool=tmp_path / "file")["spool"]
    assert told["verdict"] == "wrong"
    assert told["mend"]


@pytest.mark.parametrize("side", ["", "peer-"])
def test_an_expired_certificate_is_wrong(tmp_path, certificates, side):
    pair = [certificates / "expired.pem", certificates / "expired.key"]
    told = lacks(tmp_path, f"--{side}tls-cert", pair[0], f"--{side}tls-key", pair[1])
    (judged,) = [each for subject, each in told.items() if subject.startswith("certificate")]
    assert judged["verdict"] == "wrong"
    assert "expired.pem has expired" in judged["finding"]
    assert judged["mend"].startswith("Renew ")


def test_an_archive_that_is_no_archive_is_wrong(tmp_path):
    (tmp_path / "films.db").write_text("nothing of Milvus")
    uri = str(tmp_path / "films.db")
    assert lacks(tmp_path, "--archive-uri", uri)[f"archive {uri}"]["verdict"] == "wrong"
    uri = str(tmp_path / "new.db")
    assert lacks(tmp_path, "--archive-uri", uri)[f"archive {uri}"]["verdict"] == "ok"
    assert not Path(uri).exists()
