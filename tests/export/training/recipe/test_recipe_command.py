"""`cxrexport recipe` shows what there is, and docs/recipes.md is what the model says."""

from __future__ import annotations

import re

from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.training.recipe import Augmentation, Recipe, Schedule, load_recipe, shipped_recipes
from cxrexport.training.recipe.reference import reference_page


def recipe(*words):
    return CliRunner().invoke(app, ["recipe", *words])


def test_the_committed_page_is_the_one_that_the_model_gives(pytestconfig):
    """Else: `cxrexport recipe reference > docs/recipes.md`."""
    page = pytestconfig.rootpath / "docs" / "recipes.md"
    assert page.read_text(encoding="utf-8") == reference_page()
    assert recipe("reference").stdout == reference_page()


def test_the_page_describes_every_key():
    rows = [line.split(" | ") for line in reference_page().splitlines() if line.startswith("| `")]
    described = {cells[0].strip("| `"): cells[-1].strip("| ") for cells in rows}
    for model in (Recipe, Schedule, Augmentation):
        assert described.keys() >= set(model.model_fields)
    assert described.keys() >= set(load_recipe("starter").spec.to_dict())
    assert all(described.values())


def test_the_list_names_every_recipe_that_ships():
    result = recipe("list")
    assert result.exit_code == 0
    listed = re.findall(r"^ {2}([a-z-]+) {2}", result.stdout, re.MULTILINE)
    assert listed == ["recipe", *shipped_recipes()]
    assert all(what.endswith(".") for what in shipped_recipes().values())


def test_show_prints_the_recipe_on_stdout_and_its_digest_on_stderr():
    result = recipe("show", "starter", "--set", "classify.epochs=2")
    expected = load_recipe("starter", ["classify.epochs=2"])
    assert result.exit_code == 0
    assert result.stdout.startswith("name: starter\n")
    assert "classify:\n  epochs: 2\n" in result.stdout
    assert expected.digest in result.stderr


def test_a_wrong_key_ends_with_exit_code_2():
    result = recipe("show", "starter", "--set", "classify.epoch=2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean classify.epochs?" in result.stderr
