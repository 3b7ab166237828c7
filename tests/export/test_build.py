"""`cxrexport build` writes a whole repository, and says how far its graphs are from torch."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from cxrexport.build import _move, build, random_networks
from cxrexport.cli.app import app
from cxrexport.errors import ExportError
from cxrexport.repository import GRAPHS
from cxrexport.training.recipe import load_recipe

RECIPE = """
name: tiny
negative: normal
positive: tb
preprocessing: {size_px: 64}
width: 0.125
segment: &schedule
  {epochs: 1, batch_size: 4, learning_rate: 1.0e-3, learning_rate_decay: 1.0, weight_decay: 0.0}
classify: *schedule
notice: Drawn for a test.
"""


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def repository(recipe_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "repository"
    command = ["build", "--random-weights", "--recipe", recipe_file, "--films", 3]
    result = CliRunner().invoke(app, [str(a) for a in [*command, "--repository", folder]])
    assert result.exit_code == 0, result.output
    assert "Parity over 3 films" in result.output
    return folder


def test_a_built_repository_passes_its_own_check(repository):
    result = CliRunner().invoke(app, ["check", "--repository", str(repository)])
    assert result.exit_code == 0, result.output


def test_every_graph_is_there_with_the_digests_it_was_made_with(repository, recipe_file):
    recipe = load_recipe(str(recipe_file))
    for name in GRAPHS:
        model = onnx.load(repository / name / "1" / "model.onnx")
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert metadata["preprocessing_digest"] == recipe.spec.digest
        assert metadata["recipe_digest"] == recipe.digest


def test_parity_is_reported_in_full(repository):
    parity = json.loads((repository / "parity.json").read_text())
    assert parity["films"] == 3
    assert set(parity["members"]) == {"resnet34", "resnet50", "resnet152", "vgg16"}
    assert 0 <= parity["probability"] <= 1e-4
    assert 0 < parity["rounding"] < 0.1


def test_the_recipes_labels_and_notice_are_served(repository):
    text = (repository / "cxr" / "config.pbtxt").read_text()
    assert "Drawn for a test." in text
    assert '[\\"normal\\", \\"tb\\"]' in text


def test_a_graph_that_differs_from_torch_is_refused(recipe_file, tmp_path, monkeypatch):
    """Torch gets other weights than the graph: the parity that is measured must see it."""
    recipe = load_recipe(str(recipe_file))
    networks = random_networks(recipe)

    def export_another(module, spec, path, metadata):
        if path.parts[-3] == "vgg16":
            with torch.no_grad():
                module.head.fc3.bias[1] += 1e-2
        real_export(module, spec, path, metadata)
        if path.parts[-3] == "vgg16":
            with torch.no_grad():
                module.head.fc3.bias[1] -= 1e-2

    from cxrexport import build as module_under_test

    real_export = module_under_test.export_graph
    monkeypatch.setattr(module_under_test, "export_graph", export_another)
    films = np.random.default_rng(0).random((2, 1, 64, 64), dtype=np.float32)
    with pytest.raises(ExportError, match="as it was"):
        build(networks, recipe, tmp_path / "repository", films)
    assert not list(tmp_path.iterdir()), "nothing half built is left"


def test_new_files_take_their_places_and_plans_of_the_graphs_before_go(tmp_path):
    beside, directory = tmp_path / "beside", tmp_path / "repository"
    for folder, text in ((beside, "new"), (directory, "old")):
        (folder / "vgg16" / "1").mkdir(parents=True)
        (folder / "vgg16" / "1" / "model.onnx").write_text(text)
    (directory / "vgg16" / "1" / "model.plan").write_text("an engine of the graph before")
    _move(beside, directory)
    assert (directory / "vgg16" / "1" / "model.onnx").read_text() == "new"
    assert not (directory / "vgg16" / "1" / "model.plan").exists()


def test_a_run_that_does_not_exist_is_named(tmp_path):
    result = CliRunner().invoke(
        app, ["build", "--run", str(tmp_path / "no"), "--repository", str(tmp_path / "r")]
    )
    assert result.exit_code == 1
    assert "CHECKPOINT" in result.output
    assert not (tmp_path / "r").exists()


def test_run_and_random_weights_exclude_each_other(tmp_path):
    assert CliRunner().invoke(app, ["build", "--repository", str(tmp_path)]).exit_code == 2
