"""`cxrexport preview`."""

from __future__ import annotations

import io
from importlib import resources

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.training.recipe import load_recipe
from cxrexport.training.run.folder import Run


@pytest.fixture(scope="module")
def film(tmp_path_factory, drawn_film):
    path = tmp_path_factory.mktemp("film") / "patient-4711.png"
    Image.fromarray((drawn_film() // 16).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The starter's recipe for small films."""
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    shipped = resources.files("cxrexport.training") / "recipes" / "starter.yaml"
    path.write_text(shipped.read_text(encoding="utf-8").replace("size_px: 320", "size_px: 64"))
    return path


def preview(*arguments):
    return CliRunner().invoke(app, ["preview", *map(str, arguments)])


@pytest.fixture(scope="module")
def sheet(film, recipe, tmp_path_factory):
    path = tmp_path_factory.mktemp("sheet") / "new" / "one.png"
    done = preview("--image", film, "--recipe", recipe, "--output", path, "--seed", 3)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(path)]
    return path


def test_the_sheet_is_a_picture_of_the_film(sheet):
    picture = np.asarray(Image.open(sheet).convert("L"))
    assert picture.shape[0] > 1000
    assert picture.std() > 20


def test_the_same_film_recipe_and_seed_give_the_same_bytes(film, recipe, sheet, tmp_path):
    again = tmp_path / "again.png"
    preview("--image", film, "--recipe", recipe, "--output", again, "--seed", 3)
    assert again.read_bytes() == sheet.read_bytes()


def test_the_sheet_does_not_name_the_film(sheet):
    assert b"4711" not in sheet.read_bytes()


def test_a_run_brings_its_recipe_and_its_lungs(film, recipe, sheet, tmp_path):
    run = Run(tmp_path / "run", load_recipe(str(recipe)))
    run.save("segment", run.make("segment"), {})
    run.folder("segment").metrics.write_text("{}")
    with_lungs = tmp_path / "sheet.png"
    done = preview("--image", film, "--run", run.path, "--output", with_lungs, "--seed", 3)
    assert done.exit_code == 0, done.output
    turquoise = np.asarray(Image.open(with_lungs).convert("RGB")).astype(int)
    assert (np.abs(turquoise - (0x40, 0xE0, 0xD0)).max(axis=2) < 8).sum() > 100
    assert with_lungs.read_bytes() != sheet.read_bytes()


def test_a_run_without_a_lung_network_says_what_to_do(film, recipe, tmp_path):
    run = Run(tmp_path / "run", load_recipe(str(recipe)))
    done = preview("--image", film, "--run", run.path, "--output", tmp_path / "sheet.png")
    assert done.exit_code == 1
    assert "cxrexport train segment" in done.stderr


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
