"""What `cxrclient predict` writes on stdout or in a file, against the real server."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from predict_command import COMMAND, lines

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
    assert "Skipped in folders as no films: 1 (1 .txt)." in done.stderr


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
    assert f"Films in {films}/" in done.stdout
    assert "│ a.dcm " in done.stdout
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


def test_a_quoted_glob_is_expanded(predict, films):
    done = predict(f"{films}/**/*.dcm", "--format", "jsonl")
    assert [Path(line["path"]).name for line in lines(done)] == ["a.dcm", "b.dcm", "a.dcm"]


def test_an_output_that_cannot_be_written_is_one_line(predict, films):
    done = predict(films, "--output", films)
    assert done.returncode == 1
    assert done.stderr.startswith("CLIENT: Cannot write")


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


def test_what_was_skipped_is_named_where_that_is_asked(predict, films):
    done = predict(films, "--list-skipped")
    assert f"Skipped: {films / 'below' / 'letter.txt'} (.txt)" in done.stderr
