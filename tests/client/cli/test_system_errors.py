"""What the operating system refuses is one sentence with a code, and results so far are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("cxrclient"))
FILMS = 3
MANY = 12


@pytest.fixture(scope="module")
def folders(folder_of_films):
    return {count: folder_of_films(count) for count in (FILMS, MANY)}


@pytest.fixture
def predict(triton_server, folders):
    """Runs the command by a shell, which redirects; `room` is the size that a file may have."""

    def run(*arguments, redirect="", room=None, films=FILMS):
        # As a full disk, with another number: Python ignores SIGXFSZ. Not by preexec_fn: gRPC may
        # end a fork of the test's own process.
        limit = [] if room is None else ["prlimit", f"--fsize={room}"]
        command = [COMMAND, "predict", folders[films], *arguments]
        command += ["--server", triton_server.grpc_address]
        return subprocess.run(
            [*limit, "bash", "-c", f'"$@" {redirect}', "bash", *map(str, command)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def one_sentence(done, says, code=1):
    """Of the errors there is one line, with its code, and no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("CLIENT: ")]
    assert len(errors) == 1, done.stderr
    assert says in errors[0]
    return errors[0]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_full_disk_keeps_the_results_so_far(predict, tmp_path, kind):
    output = tmp_path / f"results.{kind}"
    done = predict("--output", output, room=2500, films=MANY)
    one_sentence(done, f"Cannot write {output}: File too large")
    lines = output.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    assert 2 < len(whole) < MANY
    if kind == "jsonl":
        assert all(json.loads(line)["status"] == "ok" for line in whole)
        done = predict("--output", output, "--resume", films=MANY)
        assert (done.returncode, len(output.read_text().splitlines())) == (0, MANY)
        assert output.read_text().startswith(whole[0])


@pytest.mark.parametrize("kind", ["table", "csv", "jsonl"])
def test_a_device_without_room_is_one_sentence(predict, kind):
    done = predict("--format", kind, "--output", "/dev/full")
    one_sentence(done, "Cannot write /dev/full: No space left on device. Make room")


@pytest.mark.parametrize("kind", ["table", "csv", "jsonl"])
@pytest.mark.parametrize(
    ("redirect", "reason"),
    [
        (">&-", "Bad file descriptor"),
        (">/dev/full", "No space left on device"),
        ("| true; exit ${PIPESTATUS[0]}", "Broken pipe"),
    ],
)
def test_results_that_stdout_does_not_take_fail_the_run(predict, kind, redirect, reason):
    done = predict("--format", kind, redirect=redirect)
    one_sentence(done, f"Cannot write to standard output: {reason}")


def test_a_closed_stdout_is_no_fault_where_results_go_to_a_file(predict, tmp_path):
    done = predict("--output", tmp_path / "results.csv", redirect=">&-")
    assert (done.returncode, done.stdout) == (0, "")
    assert len((tmp_path / "results.csv").read_text().splitlines()) == FILMS + 1


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "<&-"])
def test_talk_that_nobody_hears_costs_no_result(predict, redirect):
    done = predict("--format", "jsonl", redirect=redirect)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, FILMS)


def test_a_closed_stdin_that_is_wanted_is_one_sentence(predict):
    done = predict("-", redirect="<&-")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "USAGE: stdin is closed here. Name a file in the place of -.\n"


def test_a_summary_without_room_is_one_sentence(predict, tmp_path):
    summary = tmp_path / "run.json"
    summary.write_text("of before")
    done = predict("--format", "jsonl", "--summary", summary, room=500)
    one_sentence(done, f"Cannot write {summary}: File too large")
    assert (summary.read_text(), len(done.stdout.splitlines())) == ("of before", FILMS)
    assert list(tmp_path.iterdir()) == [summary]


def test_pictures_without_room_are_one_sentence(predict, tmp_path):
    done = predict("--format", "jsonl", "--overlays", tmp_path / "overlays", room=900)
    one_sentence(done, "Cannot write ")
    assert list((tmp_path / "overlays").iterdir()) == []


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full"])
def test_help_that_nobody_reads_fails(redirect):
    done = subprocess.run(
        ["bash", "-c", f'"$0" --help {redirect}', COMMAND],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    one_sentence(done, "Cannot write to standard output: ")
