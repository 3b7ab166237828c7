"""Repositories that come with the package have names, accepted wherever a path is."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrclient import EmbeddedServer, UsageError
from cxrclient.cli.app import app
from cxrclient.serving import find_repository, own_repository, shipped, shipped_repositories
from stand_in_plans import examine
from tiny_repository import DIGEST


@pytest.fixture
def ships(tiny_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for shipped repositories with one of them, `tiny`; the test stands elsewhere."""
    place, here = tmp_path / "repositories", tmp_path / "here"
    here.mkdir()
    shutil.copytree(tiny_repository, place / "tiny")
    (place / "README.md").write_text("No repository.\n")
    (place / "notes").mkdir()
    original = shipped.data_path

    def data_path(installed: str, checkout: str) -> Path:
        return place if installed == "repositories" else original(installed, checkout)

    monkeypatch.setattr(shipped, "data_path", data_path)
    monkeypatch.chdir(here)
    return place


def test_the_names_are_what_lies_there(ships: Path) -> None:
    assert shipped_repositories() == {"starter": own_repository(), "tiny": ships / "tiny"}
    (ships / "tiny").rename(ships / "other")
    assert list(shipped_repositories()) == ["starter", "other"]


def test_a_name_and_a_path_are_both_found(ships: Path) -> None:
    assert find_repository(None) == find_repository("starter") == own_repository()
    assert find_repository("tiny") == ships / "tiny"
    assert find_repository(str(ships / "tiny")) == ships / "tiny"
    assert find_repository("mine") == Path("mine")
    assert find_repository(Path("tiny")) == Path("tiny")  # a Path is a path


def test_a_name_that_is_also_a_folder_here_is_refused_and_both_ways_out_lead_on(
    ships: Path,
) -> None:
    Path("tiny").write_text("a file is no repository")
    assert find_repository("tiny") == ships / "tiny"
    Path("tiny").unlink()
    Path("tiny").mkdir()
    with pytest.raises(UsageError) as raised:
        find_repository("tiny")
    assert f"write ./tiny for the folder, or {ships / 'tiny'} for the one" in raised.value.message
    assert find_repository("./tiny") == Path("tiny")
    assert find_repository(str(ships / "tiny")) == ships / "tiny"
    os.chdir(ships)  # the folder here is the shipped one
    assert find_repository("tiny") == ships / "tiny"


@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_a_command_refuses_it_before_anything_long(ships: Path, command: str) -> None:
    Path("tiny").mkdir()
    result = CliRunner().invoke(app, [command, "--model-repository", "tiny"])
    assert result.exit_code == 2
    assert "USAGE: tiny is a repository that comes with cxr-triton" in result.output


def test_doctor_looks_at_the_one_that_is_named(ships: Path) -> None:
    code, checks = examine(Path("tiny"))
    assert (code, checks["repository"][0]["verdict"]) == (0, "ok")
    assert str(ships / "tiny") in checks["repository"][0]["finding"]


@pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")
def test_a_server_serves_the_one_that_is_named(ships: Path) -> None:
    with EmbeddedServer("tiny", device="cpu") as server:
        assert server.repository == (ships / "tiny").resolve()
        assert server.wait_ready().digest == DIGEST


def test_an_unknown_name_is_answered_with_those_that_there_are(ships: Path) -> None:
    result = CliRunner().invoke(app, ["serve", "--model-repository", "tb2", "--device", "cpu"])
    assert result.exit_code == 1
    assert "a name that comes with cxr-triton (starter, tiny)" in " ".join(result.output.split())
