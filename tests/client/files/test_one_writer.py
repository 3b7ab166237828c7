"""Two runs never write into one file of results or one folder of pictures."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxrclient.cli.output.pictures import PictureFolder
from cxrclient.errors import CxrClientError, UsageError
from cxrclient.files import lock
from cxrclient.files.lock import open_alone
from cxrclient.runs.journal import open_results
from waiting import eventually

COMMAND = str(Path(sys.executable).with_name("cxrclient"))
FILMS = 4
FILM_BYTES = 60_000  # less than a film has on its way, and more than half of it
LONG_S = 300  # only catches a hang


@pytest.fixture(scope="module")
def films(folder_of_films):
    return folder_of_films(FILMS)


@pytest.fixture
def start(triton_server):
    running = []

    def run(*arguments, server=triton_server.grpc_address):
        command = [COMMAND, "predict", *map(str, arguments), "--server", server]
        running.append(
            subprocess.Popen([*command, "--jobs", "1"], stderr=subprocess.PIPE, text=True)
        )
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def halfway(start, wire):
    """Starts a run that waits for its second film once there is something at a path."""

    def run(path, *arguments):
        wire.hold_after(2 * FILM_BYTES)
        process = start(*arguments, server=wire.address)
        eventually(lambda: list(path.parent.glob(path.name)) or process.poll() is not None)
        assert process.poll() is None
        assert wire.holds.wait(LONG_S)
        return process

    return run


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "options"), [("r.csv", []), ("r.txt", []), ("results", ["--format", "csv"])]
)
def test_a_second_run_into_results_of_any_format_is_refused(
    start, halfway, wire, films, tmp_path, name, options
):
    output = tmp_path / name
    overlays = tmp_path / "overlays"  # the table is written at the end; its run is begun by then
    first = halfway(
        overlays / "*.png" if name == "r.txt" else output,
        films, "--output", output, "--overlays", overlays, *options,
    )  # fmt: skip
    second = start(films, "--output", output, "--overwrite", *options)
    said = second.communicate(timeout=LONG_S)[1]
    wire.flow()
    first.communicate(timeout=LONG_S)
    assert (first.returncode, second.returncode) == (0, 1)
    assert f"CLIENT: {output} is being written by another run." in said
    if name != "r.txt":
        assert len(rows(output)) == FILMS


def test_a_second_run_into_a_folder_of_pictures_is_refused(start, halfway, wire, films, tmp_path):
    masks = tmp_path / "masks"
    first = halfway(masks, films, "--masks", masks, "--output", tmp_path / "first.csv")
    second = start(films, "--masks", masks, "--output", tmp_path / "second.csv")
    said = second.communicate(timeout=LONG_S)[1]
    wire.flow()
    first.communicate(timeout=LONG_S)
    assert (first.returncode, second.returncode) == (0, 1)
    assert f"CLIENT: {masks} is being written to by another run." in said
    assert not (tmp_path / "second.csv").exists()
    assert len(list(masks.glob("*.png"))) == FILMS


def test_results_of_a_run_that_ended_meanwhile_are_not_replaced(tmp_path):
    """Both began when there was no file; the other one was quick."""
    path = tmp_path / "results.csv"
    path.write_text("path,status\n")
    with pytest.raises(UsageError, match="ended meanwhile"):
        open_results(path, replace=False)
    assert path.read_text() == "path,status\n"
    open_results(path, replace=True).close()
    assert path.read_text() == ""


def test_a_folder_is_free_again_when_its_run_has_ended(tmp_path):
    first = PictureFolder(tmp_path / "masks")
    with pytest.raises(CxrClientError, match="another run"):
        PictureFolder(tmp_path / "masks")
    first.close()
    PictureFolder(tmp_path / "masks").close()


def test_a_folder_is_free_again_though_a_fork_has_it_open(tmp_path):
    """As the process that decodes has, where it was started meanwhile."""
    with lock.only_one(tmp_path, RuntimeError("busy")):
        files = [file for file in Path("/proc/self/fd").iterdir() if file.exists()]
        (held,) = (file.name for file in files if file.samefile(tmp_path))
        elsewhere = os.dup(int(held))  # shares the lock, as a fork's does
    with lock.only_one(tmp_path, RuntimeError("busy")):
        pass
    os.close(elsewhere)


def test_the_file_that_has_the_name_is_held_not_one_that_lost_it(tmp_path, monkeypatch):
    """A resuming run puts a new file in the place of the old one."""
    path = tmp_path / "results.jsonl"
    hold, replaced = lock.hold, []

    def replace_then_hold(descriptor, busy):
        if not replaced:
            (tmp_path / "new").write_text("new")
            replaced.append((tmp_path / "new").replace(path))
        hold(descriptor, busy)

    monkeypatch.setattr(lock, "hold", replace_then_hold)
    with open_alone(path, RuntimeError("busy")) as file:
        file.write(b"!")
    assert path.read_text() == "new!"
