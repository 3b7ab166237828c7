"""The checkpoint that a network began from is noted, kept to, and told in reports."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.networks import Layout, make_backbone
from cxrexport.training.classify import start_backbone
from cxrexport.training.recipe import Recipe
from cxrexport.training.run.folder import Run
from cxrexport.training.run.origin import Origin, origin_of, origins_in_words
from cxrexport.weights import Facts
from cxrexport.weights.file import features_of, write_weights


@pytest.fixture
def checkpoint(tmp_path):
    """A file of resnet34's features at the recipe's width."""
    path = tmp_path / "elsewhere" / "features.pth"
    path.parent.mkdir()
    torch.manual_seed(3)
    weights = make_backbone("resnet34", 0.125).state_dict()
    torch.save({k: v for k, v in weights.items() if not k.startswith("head.")}, path)
    return path


@pytest.fixture
def run(tiny, tmp_path):
    return Run(tmp_path / "run", Recipe(**tiny()))


def begin(run, network):
    """As if its first epoch were over."""
    folder = run.folder(network)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.state.touch()


def test_the_note_has_the_files_name_and_digest_and_no_folder(run, checkpoint):
    start_backbone("resnet34", run, str(checkpoint))
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert origin_of(run, "resnet34") == Origin("features.pth", sha256)
    assert json.loads(run.folder("resnet34").origin.read_text())["source"] == "features.pth"


def test_a_network_from_scratch_has_no_note(run, checkpoint):
    start_backbone("resnet34", run, str(checkpoint))
    start_backbone("resnet34", run)
    assert origin_of(run, "resnet34") is None


def test_torchvisions_weights_are_known_by_their_own_checksum():
    assert Origin.of("resnet50", "imagenet") == Origin("imagenet", "0676ba61")


def test_weights_that_cannot_be_loaded_leave_no_note(run, tmp_path):
    with pytest.raises(CheckpointError):
        start_backbone("resnet34", run, str(tmp_path / "none.pth"))
    assert origin_of(run, "resnet34") is None


@pytest.mark.parametrize("first", [True, False])
def test_a_training_goes_on_from_its_own_beginning_only(run, checkpoint, first):
    given = (str(checkpoint), None)
    start_backbone("resnet34", run, given[not first])
    begin(run, "resnet34")
    with pytest.raises(RecipeError, match="Give the same --pretrained again"):
        start_backbone("resnet34", run, given[first])
    start_backbone("resnet34", run, given[not first])


def test_another_file_of_the_same_name_is_another_beginning(run, checkpoint):
    start_backbone("resnet34", run, str(checkpoint))
    begin(run, "resnet34")
    weights = torch.load(checkpoint, weights_only=True)
    torch.save({k: v + 1 if v.is_floating_point() else v for k, v in weights.items()}, checkpoint)
    with pytest.raises(RecipeError, match=r"begun from features\.pth"):
        start_backbone("resnet34", run, str(checkpoint))


def test_reports_say_what_each_network_began_from(run, checkpoint):
    start_backbone("resnet34", run, str(checkpoint))
    start_backbone("resnet50", run)
    start_backbone("vgg16", run)
    names = ("resnet34", "resnet50", "vgg16")
    words = origins_in_words((name, run, name) for name in names)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:12]
    assert words == f"resnet34: features.pth ({digest}); resnet50, vgg16: from scratch"
    assert origins_in_words([("resnet50", run, "resnet50")]) == "from scratch"


@pytest.fixture
def licensed(tmp_path):
    """A folder as `cxrexport weights fetch` writes it."""
    torch.manual_seed(4)
    weights = features_of(make_backbone("resnet34", 0.125, layout=Layout(pool="end")))
    told = (
        "Features, Someone 2016, BSD-2-Clause",
        "from a wheel; folded",
        "# Licence\n\nIts text.\n",
    )
    return write_weights(
        weights, Facts("resnet34", 0.125, Layout(pool="end"), *told), tmp_path / "weights"
    ).parent


def test_licence_and_provenance_travel_into_the_run_and_its_reports(run, licensed):
    module = start_backbone("resnet34", run, str(licensed))
    origin = origin_of(run, "resnet34")
    assert origin.source == "resnet34.safetensors"
    assert (origin.provenance, origin.notice) == (
        "from a wheel; folded",
        "# Licence\n\nIts text.\n",
    )
    assert "Someone 2016, BSD-2-Clause" in origins_in_words([("resnet34", run, "resnet34")])
    assert module.design.layout == Layout(pool="end")


def test_a_note_of_before_licences_were_noted_is_still_the_same_beginning(run, licensed):
    start_backbone("resnet34", run, str(licensed))
    note = run.folder("resnet34").origin
    known = json.loads(note.read_text())
    note.write_text(json.dumps({key: known[key] for key in ("source", "sha256")}))
    begin(run, "resnet34")
    start_backbone("resnet34", run, str(licensed))
    assert origin_of(run, "resnet34").notice == "# Licence\n\nIts text.\n"


def test_a_folder_without_weights_of_the_network_is_refused(run, licensed):
    with pytest.raises(CheckpointError, match="cxrexport weights fetch resnet50"):
        start_backbone("resnet50", run, str(licensed))


def test_a_run_that_starts_from_another_inherits_its_licences(run, licensed, tiny, tmp_path):
    module = start_backbone("resnet34", run, str(licensed))
    run.save("resnet34", module, {})
    run.folder("resnet34").metrics.write_text("{}")
    tuned = Run(tmp_path / "tuned", Recipe(**tiny()))
    start_backbone("resnet34", tuned, init=run.path)
    assert origin_of(tuned, "resnet34").notice == "# Licence\n\nIts text.\n"
    words = origins_in_words([("resnet34", tuned, "resnet34")])
    assert words.startswith("run ../run, which began from resnet34.safetensors")
    begin(tuned, "resnet34")
    start_backbone("resnet34", tuned, init=run.path)
