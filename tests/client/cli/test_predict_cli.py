"""`cxrclient predict` against the real server; as a process where that is what matters."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrclient.cli.app import app
from waiting import eventually

HANG_S = 600  # only a hang takes so long, whatever else the machine does
COMMAND = str(Path(sys.executable).with_name("cxrclient"))
OK_KEYS = {
    "path",
    "status",
    "film_id",
    "probability",
    "label",
    "members",
    "votes",
    "lung_fraction",
    "flags",
    "warnings",
    "model",
    "latency_ms",
}
FAILURE_KEYS = {"path", "status", "code", "message", "retriable"}


@pytest.fixture(scope="module")
def films(tmp_path_factory, drawn_film, write_dicom):
    """A folder with two films, a film and a letter below, and a rejected one."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "below").mkdir()
    write_dicom(folder / "a.dcm", drawn_film(1))
    write_dicom(folder / "b.dcm", drawn_film(2))
    write_dicom(folder / "below" / "a.dcm", drawn_film(3, rows=260))
    (folder / "below" / "letter.txt").write_text("Dear colleague")
    return folder


@pytest.fixture(scope="module")
def predict(triton_server):
    """Runs the command in this process, with the real server."""

    def run(*arguments, server=triton_server.grpc_address):
        command = ["predict", *map(str, arguments), "--server", server]
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="module")
def predict_alone(triton_server):
    """Runs the command as a process of its own, where its surroundings matter."""

    def run(*arguments, server=triton_server.grpc_address, **options):
        command = [COMMAND, "predict", *map(str, arguments)]
        if server:
            command += ["--server", server]
        return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, **options)

    return run


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_json_lines_have_exactly_these_keys_in_the_order_of_the_films(
    predict_alone, films, triton_server
):
    (films / "empty.dcm").touch()
    done = predict_alone(films, "--format", "jsonl")
    (films / "empty.dcm").unlink()
    results = lines(done)
    below = films / "below" / "a.dcm"
    expected = [films / "a.dcm", films / "b.dcm", films / "empty.dcm", below]
    assert [result["path"] for result in results] == list(map(str, expected))
    assert [result["status"] for result in results] == ["ok", "ok", "rejected", "ok"]
    for result in results:
        assert set(result) == (OK_KEYS if result["status"] == "ok" else FAILURE_KEYS)
    assert set(results[0]["members"]) == {"resnet34", "resnet50", "resnet152", "vgg16"}
    assert set(results[0]["model"]) == {"name", "digest"}
    assert done.returncode == 3


def test_data_is_on_stdout_and_talk_with_the_notice_on_stderr(predict_alone, films):
    done = predict_alone(films, "--format", "jsonl")
    assert done.returncode == 0
    assert len(lines(done)) == 3
    assert "use" in done.stderr.lower() or "mean" in done.stderr.lower()
    assert "Skipped in folders: 1 file that" in done.stderr


def test_the_notice_is_the_servers(predict, films, triton_server):
    from cxrclient import CxrClient

    with CxrClient(triton_server.grpc_address) as client:
        notice = client.model.notice
    assert notice in predict(films / "a.dcm", "--format", "csv").stderr
    table = predict(films / "a.dcm").stdout
    assert " ".join(notice.split()) in " ".join(table.split())


def test_the_table_has_a_row_a_film_and_says_what_is_wrong(predict, films):
    done = predict(films / "a.dcm", films / "missing.dcm")
    assert done.returncode == 3
    assert str(films / "a.dcm") in done.stdout
    assert "FILE_UNREADABLE" in done.stdout
    assert "2 films: 1 predicted, 0 rejected, 1 failed." in done.stderr


def test_csv_has_a_column_for_each_value(predict, films):
    rows = list(csv.DictReader(io.StringIO(predict(films, "nowhere", "--format", "csv").stdout)))
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "failed"]
    assert 0 <= float(rows[0]["resnet152"]) <= 1
    assert rows[3]["code"] == "FILE_UNREADABLE"
    assert rows[3]["probability"] == ""


def test_output_takes_the_place_of_stdout(predict, films, tmp_path):
    done = predict(films, "--format", "jsonl", "--output", tmp_path / "results.jsonl")
    assert done.stdout == ""
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("results.jsonl", ["--resume", "--overwrite"]),
        ("results.csv", ["--overwrite"]),
        ("results.txt", ["--overwrite"]),
    ],
)
def test_results_of_an_earlier_run_are_not_replaced_without_a_word(
    predict, films, tmp_path, free_address, name, says
):
    (tmp_path / name).write_text("of an earlier run")
    done = predict(films, "--output", tmp_path / name, server=free_address)
    assert (done.returncode, (tmp_path / name).read_text()) == (2, "of an earlier run")
    assert re.findall(r"--[a-z]+", done.stderr) == says


def test_results_of_an_earlier_run_are_replaced_when_asked(predict, films, tmp_path):
    output = tmp_path / "results.jsonl"
    output.write_text("of an earlier run")
    assert predict(films / "b.dcm", "--output", output, "--overwrite").returncode == 0
    assert [json.loads(line)["status"] for line in output.read_text().splitlines()] == ["ok"]


def test_results_are_either_gone_on_with_or_replaced(predict, films, tmp_path, free_address):
    options = ("--output", tmp_path / "results.jsonl", "--resume", "--overwrite")
    done = predict(films, *options, server=free_address)
    assert (done.returncode, "Give only one" in done.stderr) == (2, True)


@pytest.mark.parametrize(("kind", "suffix"), [("csv", "jsonl"), ("jsonl", "CSV"), ("table", "csv")])
def test_a_file_named_as_one_format_is_not_written_in_another(
    predict, films, tmp_path, free_address, kind, suffix
):
    output = tmp_path / f"results.{suffix}"
    done = predict(films, "--format", kind, "--output", output, server=free_address)
    assert (done.returncode, output.exists()) == (2, False)
    assert f"--format {kind}" in done.stderr


def test_masks_have_the_films_name_and_size(predict, films, tmp_path):
    masks, overlays = tmp_path / "masks", tmp_path / "overlays"
    done = predict(films, "--masks", masks, "--overlays", overlays, "--format", "jsonl")
    assert done.returncode == 0
    assert sorted(path.name for path in masks.iterdir()) == ["a-2.png", "a.png", "b.png"]
    mask = np.asarray(Image.open(masks / "a.png"))
    assert mask.shape == (240, 200)
    assert set(np.unique(mask)) <= {0, 255}
    assert np.asarray(Image.open(masks / "a-2.png")).shape == (260, 200)
    fraction = lines(done)[0]["lung_fraction"]
    assert (mask == 255).mean() == pytest.approx(fraction, abs=1e-4)
    assert Image.open(overlays / "a.png").mode == "RGB"
    assert "1 pictures" not in done.stderr
    assert "2 pictures have a number" in done.stderr


def test_only_pictures_that_were_written_are_said_to_have_a_number(predict, tmp_path, write_dicom):
    for name in ("film", "good", "bad"):
        (tmp_path / name).mkdir()
        write_dicom(tmp_path / name / "a.dcm")
    (tmp_path / "bad" / "a.dcm").write_bytes(b"")
    films = [tmp_path / name / "a.dcm" for name in ("film", "bad", "good")]
    done = predict(*films, "--masks", tmp_path / "masks")
    assert "1 picture has a number added" in done.stderr
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["a-3.png", "a.png"]


def test_pictures_of_a_run_replace_those_of_the_last_but_never_a_film(
    predict, tmp_path, drawn_film
):
    film = tmp_path / "film.png"
    Image.fromarray(drawn_film()).save(film)
    before = film.read_bytes()
    for _ in range(2):
        assert predict(film, "--masks", tmp_path).returncode == 0
    assert film.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film-2.png", "film.png"]


def test_masks_inside_a_folder_of_films_are_not_predicted(predict, tmp_path, write_dicom):
    write_dicom(tmp_path / "a.dcm")
    for _ in range(2):
        done = predict(tmp_path, "--masks", tmp_path / "masks", "--format", "jsonl")
        assert len(lines(done)) == 1


def test_masks_may_go_into_the_very_folder_that_is_predicted(predict, tmp_path, write_dicom):
    write_dicom(tmp_path / "a.dcm")
    for _ in range(2):
        done = predict(tmp_path, "--masks", tmp_path, "--format", "jsonl")
        assert done.returncode == 0, done.stderr
        assert [line["path"] for line in lines(done)] == [str(tmp_path / "a.dcm")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dcm", "a.png"]


def test_a_quoted_glob_is_expanded(predict, films):
    done = predict(f"{films}/**/*.dcm", "--format", "jsonl")
    assert [Path(line["path"]).name for line in lines(done)] == ["a.dcm", "b.dcm", "a.dcm"]


def test_no_film_at_all_is_wrong_usage(predict_alone, tmp_path, free_address):
    (tmp_path / "letter.txt").write_text("Dear colleague")
    for arguments in (["*.nothing"], [tmp_path]):
        done = predict_alone(*arguments, server=free_address, cwd=tmp_path)
        assert done.returncode == 2
        assert "No film" in done.stderr


def test_a_picture_folder_that_cannot_be_written_is_said_before_a_film_is_sent(predict, films):
    done = predict(films, "--masks", films / "a.dcm" / "masks")
    assert done.returncode == 2
    assert "Cannot write pictures" in done.stderr
    assert done.stdout == ""


def test_masks_and_overlays_need_two_folders(predict, films, tmp_path):
    done = predict(films, "--masks", tmp_path, "--overlays", tmp_path)
    assert done.returncode == 2
    assert "two folders" in done.stderr


def test_an_output_that_cannot_be_written_is_one_line(predict, films):
    done = predict(films, "--output", films)
    assert done.returncode == 1
    assert done.stderr.startswith("CLIENT: Cannot write")


def test_no_server_is_exit_code_5_with_the_command_that_starts_one(
    predict_alone, films, free_address
):
    done = predict_alone(films, server=free_address)
    assert done.returncode == 5
    assert "cxrclient serve" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_server_lost_on_the_way_is_exit_code_5_and_every_film_has_its_line(wire, films, tmp_path):
    output = tmp_path / "results.jsonl"
    process = _started(wire.address, [films / "a.dcm"] * 12, output, "--retry-for", "1")
    _wait_for_lines(output, 1)
    wire.cut()
    _, stderr = process.communicate(timeout=HANG_S)
    results = [json.loads(line) for line in output.read_text().splitlines()]
    assert process.returncode == 5, stderr
    assert len(results) == 12
    assert results[0]["status"] == "ok"
    assert results[-1].pop("journal")["gate"] is True
    assert results[-1] | {"message": ""} == {
        "path": str(films / "a.dcm"),
        "status": "failed",
        "code": "SERVER_UNREACHABLE",
        "message": "",
        "retriable": True,
    }


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_the_results_so_far(wire, films, tmp_path, signal_number):
    output = tmp_path / "results.jsonl"
    process = _started(wire.address, [films / "a.dcm"] * 50, output)
    _wait_for_lines(output, 1)
    wire.hold()
    process.send_signal(signal_number)
    time.sleep(0.5)
    wire.flow()  # the film in flight is waited for
    _, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert stderr.strip() == "Interrupted."
    assert all(json.loads(line)["status"] == "ok" for line in output.read_text().splitlines())


def test_a_second_interrupt_leaves_a_hanging_server_at_once(wire, films, tmp_path):
    output = tmp_path / "results.jsonl"
    process = _started(wire.address, [films / "a.dcm"] * 50, output)
    _wait_for_lines(output, 1)
    wire.hold()
    assert wire.holds.wait(HANG_S)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=HANG_S)
    assert (process.returncode, stderr.strip()) == (130, "Interrupted.")


def test_an_ignored_interrupt_stays_ignored_and_the_run_says_what_ends_it(wire, films, tmp_path):
    """As in the background of a script: `cxrclient predict … &`, nohup, some schedulers."""
    output = tmp_path / "results.jsonl"
    ignore = ["bash", "-c", 'trap "" INT; exec "$@"', "bash"]
    process = _started(wire.address, [films / "a.dcm"] * 50, output, through=ignore)
    _wait_for_lines(output, 1)
    process.send_signal(signal.SIGINT)
    _wait_for_lines(output, 3)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert stderr.splitlines() == [
        "SIGINT is ignored here, as in a background job: SIGTERM ends this command.",
        "Interrupted.",
    ]


def _started(address, films, output, *options, through=()):
    command = [*through, COMMAND, "predict", *map(str, films), "--server", address, "--jobs", "1"]
    command += ["--format", "jsonl", "--output", str(output), *map(str, options)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _wait_for_lines(path, count):
    eventually(lambda: path.exists() and path.read_text().count("\n") >= count, "no results")


def test_a_closed_pipe_ends_quietly(films, triton_server):
    command = f"{COMMAND} predict {films}/a.dcm {films}/b.dcm --format jsonl --server "
    command += f"{triton_server.grpc_address} --jobs 1 2>errors | true; cat errors; rm errors"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=films)
    assert "Traceback" not in done.stdout
    assert "rror" not in done.stdout.replace("errors", "")


def test_the_environment_stands_in_for_options(predict_alone, films, triton_server):
    environment = os.environ | {"CXR_SERVER": triton_server.grpc_address, "CXR_JOBS": "2"}
    assert predict_alone(films / "a.dcm", server=None, env=environment).returncode == 0


def test_a_bad_environment_is_named(predict_alone, films):
    done = predict_alone(films, env=os.environ | {"CXR_TIMEOUT_S": "soon"})
    assert done.returncode == 2
    assert "CXR_TIMEOUT_S" in done.stderr


def test_a_path_that_is_no_text_does_not_end_the_run(predict_alone, tmp_path, write_dicom):
    name = os.fsdecode(b"f\xffilm.dcm")
    write_dicom(tmp_path / "x.dcm").rename(tmp_path / name)
    for kind in ("table", "csv", "jsonl"):
        done = predict_alone(tmp_path, "--format", kind)
        assert done.returncode == 0, done.stderr


# Root reads everything; without these two capabilities it meets locked folders as others do.
AS_OTHERS = """
import ctypes, os, sys
for dac_override_and_read_search in (1, 2):
    ctypes.CDLL(None).prctl(24, dac_override_and_read_search, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_an_unreadable_folder_is_a_line_and_its_neighbours_are_predicted(
    triton_server, tmp_path, write_dicom
):
    for name in ("locked", "open"):
        (tmp_path / name).mkdir()
        write_dicom(tmp_path / name / "a.dcm")
    (tmp_path / "locked").chmod(0)
    (tmp_path / "open" / "locked.dcm").write_bytes(b"")
    (tmp_path / "open" / "locked.dcm").chmod(0)
    command = [sys.executable, "-c", AS_OTHERS, COMMAND, "predict", str(tmp_path)]
    command += ["--format", "jsonl", "--server", triton_server.grpc_address]
    done = subprocess.run(command, capture_output=True, text=True)
    (tmp_path / "locked").chmod(0o700)
    assert done.returncode == 3, done.stderr
    folder, good, file = lines(done)
    assert (folder["status"], folder["code"]) == ("failed", "FOLDER_UNREADABLE")
    assert folder["path"] == str(tmp_path / "locked")
    assert good["status"] == "ok"
    assert (file["status"], file["code"]) == ("failed", "FILE_UNREADABLE")
