"""No cell of a CSV of ours is a formula to a spreadsheet, and each reads back as it was."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from cxrclient.archive.metadata import read_metadata
from cxrclient.files.csv_file import csv_text, defused, read_cell

COMMAND = str(Path(sys.executable).with_name("cxrclient"))
NAMES = [
    "=cmd|' C calc'!A0.dcm",
    "+1+1.dcm",
    "-2+3.dcm",
    "@SUM(1+1).dcm",
    "\tx.dcm",
    "\rx.dcm",
    "\nx.dcm",
    "\uff1dx.dcm",
    "'=x.dcm",
]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_spreadsheet_would_run_has_an_apostrophe_before_it(name):
    assert defused(name) == "'" + name


@pytest.mark.parametrize("value", ["-1.5", "+3", "-.5e-3", -1.5, "film.dcm", "'quoted'", "", None])
def test_numbers_and_plain_text_stay(value):
    assert defused(value) == value


@given(text=st.text(alphabet=st.sampled_from("'=+-@\t\r\n\0\uff1d1.a,\";")))
def test_reading_takes_off_what_writing_put_on(text):
    assert read_cell(str(defused(text))) == text


@given(cells=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2))
def test_no_cell_begins_as_a_formula(cells):
    ((one, other),) = list(csv.reader(io.StringIO(csv_text(["a", "b"], [cells]), newline="")))[1:]
    for cell in (one, other):
        assert cell[:1] not in tuple("=+-@\t\r\n\0") or re.fullmatch(r"[+-][0-9.eE+-]+", cell)
    assert [read_cell(one), read_cell(other)] == cells


def test_predict_here_writes_no_formula(triton_server, write_dicom, tmp_path):
    """`predict .` gives names without a folder before them."""
    for name in NAMES:
        write_dicom(tmp_path / name, BurnedInAnnotation="NO")
    command = [COMMAND, "predict", ".", "--server", triton_server.grpc_address]
    results = {}
    for kind in ("csv", "jsonl"):
        done = subprocess.run(
            [*command, "--format", kind], cwd=tmp_path, capture_output=True, check=True
        )
        results[kind] = done.stdout.decode()
    rows = list(csv.DictReader(io.StringIO(results["csv"], newline="")))
    assert {row["path"] for row in rows} == {"'" + name for name in NAMES}
    exact = {json.loads(line)["path"] for line in results["jsonl"].splitlines()}
    assert exact == set(NAMES)


def test_a_defused_table_is_read_as_what_it_was(tmp_path):
    rows = [["=film.dcm", "-7", "+treated"], ["'=film.dcm", "7", "'+treated"]]
    (tmp_path / "m.csv").write_text(csv_text(["image", "offset_days", "treatment"], rows))
    read = read_metadata(tmp_path / "m.csv")
    assert [(row.image, row.columns["treatment"]) for row in read] == [
        ("=film.dcm", "+treated"),
        ("'=film.dcm", "'+treated"),
    ]
    assert [row.columns["days"] for row in read] == [-7, 7]
