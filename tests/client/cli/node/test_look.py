"""`cxrclient node status` and `retry`: what people and programs are told of a spool."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cxrclient.cli.app import app
from cxrclient.node.spool.retention import retire
from cxrclient.node.spool.spool import Spool
from full_disk import no_byte_can_be_written

PEERS = ["PACS@10.1.2.3:104", "https://pacs.example/dicom-web"]


def node(*words: object) -> Result:
    return CliRunner().invoke(app, ["node", *map(str, words)], env={"COLUMNS": "120"})


def told(spool: Path) -> dict[str, object]:
    done = node("status", "--spool", spool, "--format", "json")
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_people_see_numbers_and_each_trouble_once_with_what_to_do(troubled):
    done = node("status", "--spool", troubled)
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["films", "1", "3", "4", "0", "1"] in rows
    assert ["PACS@10.1.2.3:104", "0", "4", "0", "2"] in rows
    assert ["https://pacs.example/dicom-web", "1", "5", "0", "0"] in rows
    assert "no node runs" in done.stdout
    assert "Came again, and were kept once: 2." in done.stdout
    given_up, again, seen = (
        done.stdout.index(heading) for heading in ("Given up", "Tried again", "To know")
    )
    assert given_up < done.stdout.index("refused results: 2, to PACS@10.1.2.3:104") < again
    assert again < done.stdout.index("PEER_UNREACHABLE  results: 1, to https://pacs") < seen
    assert seen < done.stdout.index("CALLER_UNKNOWN  seen: 3, from STRANGER")
    for sentence in (
        "The class is not taken (0x0122).",
        "Allow its SOP class in the peer, then `cxrclient node retry`.",
        "A caller was refused: its AE title is not among those of --allow",
        "LATERAL  films turned away: 1, from ROOM1",
        "the latest: 1.2.4",
    ):
        assert sentence in done.stdout


def test_what_is_only_to_know_is_shown_for_a_week(troubled):
    with closing(sqlite3.connect(troubled / "node.sqlite")) as line, line:
        line.execute("UPDATE notes SET at = at - 8 * 86400")
        line.execute("UPDATE films SET finished_at = finished_at - 8 * 86400")
    done = node("status", "--spool", troubled).stdout
    assert "CALLER_UNKNOWN" not in done
    assert "LATERAL" not in done
    assert "WORKER_DIED  failed films: 1" in done
    assert done.endswith("More, or older: 2. --format json has them.\n")


def test_what_nothing_can_be_done_about_is_told_apart(troubled):
    with Spool(troubled, PEERS, min_free_bytes=0) as spool:
        spool.delivered(spool.claim_delivery("https://pacs.example/dicom-web", 60))
        assert retire(spool, -1) == 8, "the ninth waits to be analysed"

    done = node("status", "--spool", troubled).stdout

    rows = [line.split() for line in done.splitlines()]
    assert ["films", "1", "0", "5", "3", "0"] in rows
    assert ["PACS@10.1.2.3:104", "0", "4", "2", "0"] in rows
    assert "until `cxrclient node retry`" not in done
    gone = done.index("Given up, and the files were removed after --keep-days, so nothing is left")
    assert gone < done.index("PEER_REFUSED_OBJECT  refused results: 2, to PACS@10.1.2.3:104")
    assert gone < done.index("WORKER_DIED  failed films: 1")
    assert "Sent again, it is tried anew." in done
    assert node("retry", "--spool", troubled).stdout.startswith("0 films")


def test_a_spool_without_trouble_says_so(tmp_path):
    Spool(tmp_path / "spool").close()
    assert node("status", "--spool", tmp_path / "spool").stdout.endswith("No trouble.\n")


def test_programs_get_all_of_it(troubled):
    found = told(troubled)
    assert found["films"] == {"waiting": 1, "analysed": 3, "done": 4, "failed": 1}
    assert found["running"] is False
    causes = {(each["what"], each["state"], each["code"]): each for each in found["causes"]}
    assert causes["note", "note", "CALLER_UNKNOWN"]["count"] == 3
    waits = causes["delivery", "waiting", "PEER_UNREACHABLE"]
    assert waits["next_at"] > waits["first_at"]
    assert all(each["do"] for each in found["causes"])
    assert len(found["trouble"]) == sum(each["count"] for each in found["causes"])


def test_it_is_said_that_a_node_works_with_the_spool(troubled):
    with Spool(troubled, PEERS):
        assert told(troubled)["running"] is True
        done = node("status", "--spool", troubled)
        assert "a node works with it" in done.stdout
        assert ", next try " in done.stdout
        assert "No node works" not in node("retry", "--spool", troubled).output


def test_a_look_changes_nothing(troubled):
    before = (troubled / "node.sqlite").read_bytes()
    node("status", "--spool", troubled)
    assert (troubled / "node.sqlite").read_bytes() == before


def test_what_was_given_up_is_tried_again(troubled):
    done = node("retry", "--spool", troubled)
    assert done.exit_code == 0
    assert done.stdout == "3 films and deliveries had ended, and will be tried again.\n"
    assert f"No node works with {troubled} now" in done.stderr
    found = told(troubled)
    assert found["films"] == {"waiting": 2, "analysed": 3, "done": 4}
    assert found["deliveries"]["PACS@10.1.2.3:104"] == {"delivered": 4, "waiting": 2}
    with Spool(troubled, PEERS) as spool:
        assert spool.claim_film(0) is not None
        assert spool.claim_delivery("https://pacs.example/dicom-web", 0) is not None
    assert node("retry", "--spool", troubled).stdout.startswith("0 films")


@pytest.mark.parametrize("command", ["status", "retry"])
def test_no_spool_and_a_damaged_one_are_one_sentence(tmp_path, command):
    done = node(command, "--spool", tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("SPOOL_UNAVAILABLE: There is no spool in ")
    (tmp_path / "node.sqlite").write_bytes(b"no database" * 1000)
    done = node(command, "--spool", tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("SPOOL_UNAVAILABLE: The spool in ")
    assert done.stderr.count("\n") == 1


def test_a_spool_may_be_named_from_where_one_is(troubled, monkeypatch):
    monkeypatch.chdir(troubled.parent)
    assert told(Path("spool"))["films"] == told(troubled)["films"]


def test_a_spool_on_a_read_only_disk_can_be_looked_at_and_not_retried(troubled, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", disk]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        shutil.copytree(troubled, disk / "spool")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert told(disk / "spool")["films"] == told(troubled)["films"]
        tried = node("retry", "--spool", disk / "spool")
        assert (tried.exit_code, tried.stdout) == (1, "")
        assert tried.stderr.startswith("SPOOL_UNAVAILABLE: ")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_disk_that_a_node_cannot_write_to_is_told_though_no_row_can_say_so(troubled):
    with Spool(troubled, PEERS):
        assert "Now:" not in node("status", "--spool", troubled).stdout
        with no_byte_can_be_written():
            told_people, found = node("status", "--spool", troubled), told(troubled)
    assert "SPOOL_FAILED  the spool's disk" in told_people.stdout.split("Given up")[0]
    assert "Look at the spool's disk" in told_people.stdout
    for seen in (found["trouble"][0], found["causes"][0]):
        assert (seen["what"], seen["code"]) == ("spool", "SPOOL_FAILED")


def test_nobody_else_can_look(troubled):
    assert stat.S_IMODE(troubled.stat().st_mode) == 0o700


def test_the_nodes_codes_are_among_the_others():
    done = CliRunner().invoke(app, ["codes", "peer_lacks", "--format", "json"])
    (code,) = json.loads(done.stdout)
    assert (code["of"], code["code"]) == ("node", "PEER_LACKS")
    assert code["mend"]
