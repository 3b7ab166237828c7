"""What a study's networks start from is read and tried before anything is trained."""

from __future__ import annotations

import pytest
import torch

from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.networks import Layout, make_backbone
from cxrexport.study.plan import PLAIN, Plan
from cxrexport.study.starting import starting_weights
from cxrexport.training.recipe import load_recipe
from cxrexport.weights import Facts
from cxrexport.weights.file import features_of, licence_beside, write_weights

WIDTH = 0.125


@pytest.fixture
def folder(tmp_path):
    """Weights of two networks, as `cxrexport weights fetch` writes them."""
    for name, layout in (("resnet34", Layout(pool="end")), ("vgg16", Layout())):
        weights = features_of(make_backbone(name, WIDTH, layout=layout))
        facts = Facts(name, WIDTH, layout, "Features, CC0-1.0", "made up", "# Licence\n")
        write_weights(weights, facts, tmp_path / "weights")
    return tmp_path / "weights"


def plan(tmp_path, *networks, members=("resnet34", "vgg16"), width=WIDTH):
    recipe = load_recipe("starter").model_copy(update={"width": width, "members": members})
    return Plan(folder=tmp_path / "study", recipe=recipe, splits=(), networks=networks)


def test_each_network_takes_its_file_of_a_folder(folder, tmp_path):
    study = plan(tmp_path, "resnet34", "vgg16", "resnet50", PLAIN)
    start = starting_weights([str(folder)], study)
    assert start == {name: str(folder / f"{name}.safetensors") for name in ("resnet34", "vgg16")}


def test_a_member_without_a_file_in_the_folder_is_named(folder, tmp_path):
    study = plan(tmp_path, "resnet34", "resnet50", members=("resnet34", "resnet50"))
    with pytest.raises(CheckpointError, match="cxrexport weights fetch resnet50"):
        starting_weights([str(folder)], study)


def test_a_networks_own_file_goes_before_the_folders(folder, tmp_path):
    torch.save(features_of(make_backbone("vgg16", WIDTH)), tmp_path / "own.pth")
    given = [str(folder), f"vgg16={tmp_path / 'own.pth'}"]
    start = starting_weights(given, plan(tmp_path, "resnet34", "vgg16"))
    assert start["vgg16"] == str(tmp_path / "own.pth")


def test_a_width_that_does_not_fit_and_a_missing_licence_are_found_at_once(folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"widths: \{resnet34: 0\.125\}"):
        starting_weights([str(folder)], plan(tmp_path, "resnet34", width=0.25))
    licence_beside(folder / "resnet34.safetensors").unlink()
    with pytest.raises(CheckpointError, match="LICENSE"):
        starting_weights([str(folder)], plan(tmp_path, "resnet34"))


@pytest.mark.parametrize("entry", ["alexnet=x.pth", "vgg16=", "nowhere"])
def test_an_entry_that_names_no_network_or_no_file_is_refused(entry, tmp_path):
    with pytest.raises(RecipeError, match="write NETWORK=imagenet or NETWORK=FILE"):
        starting_weights([entry], plan(tmp_path, "vgg16"))
