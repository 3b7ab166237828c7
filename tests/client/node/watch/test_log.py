"""The node's log holds nothing of a patient, whatever logs, at any level."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from secrets_of_a_patient import NAME, SECRETS, found_in

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) [\w.]+: .+"
)
EVERYBODY = Path(__file__).with_name("everybody_talks.py")
LEVELS = ("debug", "info", "warning", "error")


@pytest.fixture(scope="module", params=LEVELS)
def log(request, tmp_path_factory):
    """The log of a process in which every library says what it can, and its level."""
    given = [NAME, *SECRETS.values()]
    done = subprocess.run(
        [sys.executable, str(EVERYBODY), request.param, *given],
        capture_output=True, text=True, timeout=600, check=False,
        cwd=tmp_path_factory.mktemp("nowhere"),
    )  # fmt: skip
    assert done.stdout.endswith("the end\n"), done.stderr
    assert not found_in(done.stdout.encode())  # a library's own handler writes there
    return request.param, done.stderr


def test_it_holds_no_patient_data(log):
    _, text = log

    assert not found_in(text.encode())


def test_each_record_is_one_line_with_time_level_and_logger(log):
    _, text = log

    assert text
    assert [line for line in text.splitlines() if not LINE.fullmatch(line)] == []


def test_it_says_of_an_exception_its_type_and_place(log):
    _, text = log

    said = [line for line in text.splitlines() if " ERROR " in line]
    for place in (
        "KeyError at everybody_talks.py:",  # a library's logger, with its traceback
        "RuntimeError at everybody_talks.py:",  # a thread
        "LookupError at everybody_talks.py:",  # a task of asyncio
        "ArithmeticError at everybody_talks.py:",  # an object at its end
        "cxrclient.node.test: A film failed: KeyError at ",
        "cxrclient.node.test: A film failed. KeyError at ",
        "cxrclient.node.test: It failed",
        "cxrclient.node.test: No file: FileNotFoundError (No such file or directory) at ",
        "cxrclient.node.test: Two lines\\nof NODE: The peer refuses.",
    ):
        assert any(place in line for line in said), place


def test_libraries_are_heard_by_the_line_of_code_that_logged(log):
    level, text = log

    heard = r"everybody_talks.py:\d+ in library: "
    heard += r'library_log.warning\(f"Odd name {name}"\)'
    assert bool(re.search(heard, text)) == (level != "error")
    assert ("DEBUG urllib3.connectionpool: " in text) == (level == "debug")
    assert ("UserWarning at pydicom/" in text) == (level != "error")
