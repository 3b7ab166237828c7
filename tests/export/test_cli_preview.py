"""`cxrexport preview`."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrexport.cli.app import app


@pytest.fixture
def film(tmp_path, drawn_film):
    path = tmp_path / "patient-4711.png"
    Image.fromarray((drawn_film() // 16).astype(np.uint8)).save(path)
    return path


def preview(*arguments):
    return CliRunner().invoke(app, ["preview", *map(str, arguments)])


def test_preview_writes_the_sheet_and_prints_its_path(film, tmp_path):
    sheet = tmp_path / "sheets" / "one.png"
    done = preview("--image", film, "--output", sheet)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(sheet)]
    assert np.asarray(Image.open(sheet).convert("L")).std() > 20


def test_the_same_seed_draws_the_same_sheet_and_another_seed_another(film, tmp_path):
    sheets = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        preview("--image", film, "--output", tmp_path / f"{name}.svg", "--seed", seed)
        sheets.append((tmp_path / f"{name}.svg").read_bytes())
    assert sheets[0] == sheets[1]
    assert sheets[0] != sheets[2]


def test_the_sheet_does_not_name_the_film(film, tmp_path):
    sheet = tmp_path / "sheet.png"
    preview("--image", film, "--output", sheet)
    assert b"4711" not in sheet.read_bytes()
    assert not any("4711" in str(value) for value in Image.open(sheet).info.values())


def test_a_film_that_is_no_film_is_told_by_its_code(tmp_path):
    (tmp_path / "broken.dcm").write_bytes(b"no film")
    done = preview("--image", tmp_path / "broken.dcm", "--output", tmp_path / "sheet.png")
    assert done.exit_code == 3
    assert done.stderr.startswith("NOT_READABLE: ")
    assert not (tmp_path / "sheet.png").exists()


def test_a_colour_picture_is_told_by_its_code(tmp_path):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    (tmp_path / "photo.png").write_bytes(buffer.getvalue())
    done = preview("--image", tmp_path / "photo.png", "--output", tmp_path / "sheet.png")
    assert done.exit_code == 3
    assert done.stderr.startswith("COLOUR: ")


def test_a_film_that_is_not_there_is_not_readable(tmp_path):
    done = preview("--image", tmp_path / "none.dcm", "--output", tmp_path / "sheet.png")
    assert done.exit_code == 3
    assert done.stderr.startswith("NOT_READABLE: ")


def test_another_picture_format_is_wrong_usage(film, tmp_path):
    assert preview("--image", film, "--output", tmp_path / "sheet.jpg").exit_code == 2


def test_help_says_that_the_flip_is_there_twice():
    assert "7 and 9" in " ".join(preview("--help").output.split())
