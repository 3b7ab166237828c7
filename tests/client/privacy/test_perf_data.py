"""No secret of the patient is in what perf_analyzer is given."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from typer.testing import CliRunner

from cxrclient.cli.app import app
from secrets_of_a_patient import ALL_KINDS, found_in


def test_films_for_perf_analyzer_hold_no_secret(films: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "films.json"
    arguments = [str(films[kind]) for kind in ALL_KINDS]
    done = CliRunner().invoke(app, ["perf-data", *arguments, "--output", str(output)])
    assert done.exit_code == 0, done.output
    text = output.read_bytes()
    sent = [base64.b64decode(film["IMAGE"]["content"]["b64"]) for film in json.loads(text)["data"]]
    assert len(sent) == len(ALL_KINDS)
    assert [found_in(each) for each in (text, *sent)] == [set()] * (1 + len(sent))
