"""What systemd and logrotate are given is valid, and starts `serve` with options that it has."""

from __future__ import annotations

import grp
import gzip
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from cxrclient.cli.app import app

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = FOLDER / "cxr-triton.service"
UNITS = sorted(FOLDER.glob("*.service"))
LOG = "/var/log/cxr-triton/triton.log"


def verified(tmp_path: Path, unit: str, name: str = UNIT.name) -> str:
    """What systemd has to say about a unit; it leaves with 0 where it ignores a line."""
    path = tmp_path / name
    program = Path(sys.executable).with_name("cxrclient")
    path.write_text(unit.replace("/opt/cxr-triton/bin/cxrclient", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_understands_every_line_of_a_unit(tmp_path, path):
    unit = path.read_text()
    assert verified(tmp_path, unit, path.name) == ""
    wrong = unit.replace("KillMode=mixed", "KillMode=mixd")
    assert "kill mode" in verified(tmp_path, wrong, path.name)


def test_the_unit_starts_serve_with_options_that_it_has():
    (line,) = re.findall(r"^ExecStart=(.+)$", UNIT.read_text(), re.MULTILINE)
    program, command, *options = line.split()
    assert (Path(program).name, command) == ("cxrclient", "serve")
    serve = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    known = {option for parameter in serve.params for option in parameter.opts}
    assert {each for each in options if each.startswith("--")} <= known
    assert LOG in options


def test_no_unit_may_do_more_than_the_servers():
    """Whatever holds the server back holds the node back too."""
    server, node = (
        set(re.findall(r"^(?:NoNew|Protect|Private|Restrict\w*[A-Z]|Lock|Capab|UMask).*$",
                       (FOLDER / f"{name}.service").read_text(), re.MULTILINE))
        for name in ("cxr-triton", "cxr-node")
    )  # fmt: skip
    assert len(server) > 10
    assert server <= node


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not here")
def test_logrotate_empties_a_log_that_stays_open_and_keeps_a_compressed_copy(tmp_path):
    log = tmp_path / "triton.log"
    rules = (FOLDER / "cxr-triton.logrotate").read_text().replace(LOG, str(log))
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    rules = rules.replace("su cxr cxr", f"su {user} {group}")  # there is no user cxr here
    path = tmp_path / "rules"
    path.write_text(rules)
    path.chmod(0o644)
    with log.open("a") as writer:
        print("before", file=writer, flush=True)
        done = subprocess.run(
            ["logrotate", "--verbose", "--force", "--state", tmp_path / "state", path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, "error:" in done.stderr) == (0, False), done.stderr
        print("after", file=writer, flush=True)
    assert log.read_text() == "after\n"
    assert gzip.decompress((tmp_path / "triton.log.1.gz").read_bytes()) == b"before\n"
