"""Results are whole files with as many digits as they are worth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from measuring.record import write_result


def test_a_result_that_cannot_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_result(path, {"films_s": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(path, {"films_s": float("nan")})
    assert json.loads(path.read_text()) == {"films_s": 1.0}


def test_numbers_keep_five_digits(tmp_path: Path) -> None:
    write_result(tmp_path / "r.json", {"rows": [{"a": 1.23456789, "b": 123456789.0, "c": 7}]})
    assert json.loads((tmp_path / "r.json").read_text())["rows"] == [
        {"a": 1.2346, "b": 123460000.0, "c": 7}
    ]
