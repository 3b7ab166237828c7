"""Fine-tuning: a run starts from another's weights, where they fit, and says so."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil

import pytest
import torch

from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.training.classify import start_backbone
from cxrexport.training.run.folder import Run
from cxrexport.training.run.initial import initial_of, initial_run, take_over_lungs


@pytest.fixture(scope="module")
def elsewhere(still, drawn_films, fit, tmp_path_factory):
    """A run of another hospital with a trained ResNet34, and a lung network that counts as one."""
    recipe = still({"epochs": 1})
    run = Run(tmp_path_factory.mktemp("elsewhere") / "run", recipe)
    fit("resnet34", run, drawn_films(recipe))
    run.save("segment", run.make("segment"), {"epoch": "1"})
    run.folder("segment").metrics.write_text('{"network": "segment", "epochs": 1}')
    return run


def features(weights):
    return {key: value for key, value in weights.items() if not key.startswith("head.")}


def head(weights):
    return {key: value for key, value in weights.items() if key.startswith("head.")}


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_a_network_starts_from_the_other_runs_weights(elsewhere, still, new_run):
    run = new_run("here", still({"epochs": 2}))
    ours = start_backbone("resnet34", run, init=elsewhere.path).state_dict()
    assert same(ours, elsewhere.load("resnet34").state_dict())


def test_the_head_starts_anew_when_the_labels_differ(elsewhere, still, new_run, caplog):
    run = new_run("here", still(negative="normal", positive="tb"))
    with caplog.at_level(logging.INFO, logger="cxrexport"):
        ours = start_backbone("resnet34", run, init=elsewhere.path).state_dict()
    theirs = elsewhere.load("resnet34").state_dict()
    assert same(features(ours), features(theirs))
    assert same(head(ours), head(run.make("resnet34").state_dict()))
    assert not same(head(ours), head(theirs))
    assert "told non-covid against covid there and learns normal against tb here" in caplog.text


def test_frozen_features_are_bit_for_bit_the_same_after_training(
    elsewhere, still, drawn_films, new_run, fit
):
    """Weights and batch norm's statistics, also under a moving average and weight decay."""
    theirs = elsewhere.load("resnet34").state_dict()
    recipe = still({"epochs": 2, "ema": 0.9, "optimizer": "adamw", "weight_decay": 0.1})
    run = new_run("here", recipe)
    fit("resnet34", run, drawn_films(recipe), init=elsewhere.path, freeze=True)
    ours = run.load("resnet34").state_dict()
    assert same(features(ours), features(theirs))
    assert not same(head(ours), head(theirs))


def test_without_freezing_the_features_learn(elsewhere, still, drawn_films, new_run, fit):
    recipe = still({"epochs": 1})
    run = new_run("here", recipe)
    fit("resnet34", run, drawn_films(recipe), init=elsewhere.path)
    ours, theirs = run.load("resnet34").state_dict(), elsewhere.load("resnet34").state_dict()
    assert not same(features(ours), features(theirs))


def test_a_frozen_training_that_was_cut_off_ends_as_an_uninterrupted_one(
    elsewhere, still, drawn_films, new_run, fit, cut_off_after
):
    recipe = still({"epochs": 2})
    start = {"init": elsewhere.path, "freeze": True}
    whole, cut = new_run("whole", recipe), new_run("cut", recipe)
    fit("resnet34", whole, drawn_films(recipe), **start)
    with cut_off_after(1):
        fit("resnet34", cut, drawn_films(recipe), **start)
    fit("resnet34", cut, drawn_films(recipe), **start)
    assert same(cut.load("resnet34").state_dict(), whole.load("resnet34").state_dict())


# --- what does not fit -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"preprocessing": {"size_px": 64}},
            r"size_px 32 there, 64 here\), so its weights do not fit",
        ),
        ({"width": 0.25}, "has width 0.125 in .* and 0.25 in recipe"),
        ({"stages": 2}, "has stages 1 in .* and 2 in recipe"),
        ({"input": None}, "looks at the film alone in .* and at film and lung map in recipe"),
    ],
    ids=["preprocessing", "width", "stages", "input"],
)
def test_weights_that_do_not_fit_are_refused_with_the_difference(
    elsewhere, still, new_run, changes, sentence
):
    run = new_run("here", still(**changes))
    with pytest.raises(CheckpointError, match=sentence):
        start_backbone("resnet34", run, init=elsewhere.path)
    assert not run.folder("resnet34").path.exists(), "nothing is written of what is refused"


def test_a_network_that_the_other_run_has_not_trained_is_refused(elsewhere, still, new_run):
    with pytest.raises(CheckpointError, match=r"vgg16 is not trained to its end in .*elsewhere"):
        start_backbone("vgg16", new_run("here", still()), init=elsewhere.path)


def test_a_folder_that_is_no_run_is_refused(still, new_run, tmp_path):
    with pytest.raises(CheckpointError, match="is not a run"):
        start_backbone("vgg16", new_run("here", still()), init=tmp_path / "none")


def test_pretrained_and_init_exclude_each_other(elsewhere, still, new_run):
    with pytest.raises(RecipeError, match="give one"):
        start_backbone("resnet34", new_run("here", still()), "imagenet", init=elsewhere.path)


def test_features_that_were_never_trained_are_not_frozen(still, new_run):
    with pytest.raises(RecipeError, match="give --init"):
        start_backbone("resnet34", new_run("here", still()), freeze=True)


# --- what is remembered ------------------------------------------------------------------------


def test_a_run_knows_what_it_started_from(elsewhere, still, drawn_films, new_run, fit):
    recipe = still({"epochs": 1})
    run = new_run("here", recipe)
    assert initial_run(run) is None
    fit("resnet34", run, drawn_films(recipe), init=elsewhere.path, freeze=True)
    assert initial_run(Run.open(run.path)).samefile(elsewhere.path)
    initial = initial_of(run, "resnet34")
    checkpoint = elsewhere.folder("resnet34").checkpoint
    assert initial.sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert (initial.freeze, initial.head) == ("features", "kept")


def test_runs_that_move_together_still_find_each_other(elsewhere, still, new_run, tmp_path):
    (tmp_path / "runs").mkdir()
    shutil.copytree(elsewhere.path, tmp_path / "runs" / "there")
    run = Run(tmp_path / "runs" / "here", still())
    start_backbone("resnet34", run, init=tmp_path / "runs" / "there")
    moved = (tmp_path / "runs").rename(tmp_path / "moved")
    assert initial_run(Run.open(moved / "here")) == moved / "there"


@pytest.mark.parametrize("again", ["scratch", "other run", "other weights", "not frozen"])
def test_a_training_that_was_begun_goes_on_from_the_same_start_only(
    again, elsewhere, still, drawn_films, new_run, fit, cut_off_after, tmp_path
):
    recipe = still({"epochs": 2})
    run, there = new_run("here", recipe), tmp_path / "there"
    shutil.copytree(elsewhere.path, there)
    with cut_off_after(1):
        fit("resnet34", run, drawn_films(recipe), init=there, freeze=True)
    start = {"init": there, "freeze": True}
    if again == "scratch":
        start = {}
    if again == "other run":
        start["init"] = elsewhere.path
    if again == "not frozen":
        start["freeze"] = False
    if again == "other weights":
        other = Run.open(there)
        other.save("resnet34", other.make("resnet34"), {"epoch": "2"})
    with pytest.raises(RecipeError, match="was begun from"):
        start_backbone("resnet34", run, **start)


def test_all_networks_of_a_run_start_from_the_same_run(elsewhere, still, drawn_films, new_run, fit):
    recipe = still({"epochs": 1})
    run = new_run("here", recipe)
    fit("resnet34", run, drawn_films(recipe), init=elsewhere.path)
    with pytest.raises(RecipeError, match="now vgg16 would start without --init"):
        start_backbone("vgg16", run)


def test_a_start_that_came_to_nothing_is_forgotten(elsewhere, still, new_run):
    run = new_run("here", still())
    start_backbone("resnet34", run, init=elsewhere.path)
    start_backbone("resnet34", run)
    assert initial_run(run) is None


# --- the lung network --------------------------------------------------------------------------


def test_the_lung_network_is_taken_over_as_it_is(elsewhere, still, new_run):
    """Trained by another seed and schedule there; here it counts as this run's."""
    run = new_run("here", still(seed=7, positive="tb"))
    take_over_lungs(run, elsewhere.path)
    ours, theirs = Run.open(run.path).load("segment"), elsewhere.load("segment")
    assert same(ours.state_dict(), theirs.state_dict())
    metrics = json.loads(run.folder("segment").metrics.read_text())
    assert metrics["epochs"] == 1
    assert metrics["taken_over"]["sha256"] == initial_of(run, "segment").sha256


def test_a_lung_network_of_another_size_is_taken_over(elsewhere, still, new_run):
    run = new_run("here", still(preprocessing={"size_px": 64}))
    take_over_lungs(run, elsewhere.path)
    ours = Run.open(run.path).load("segment")
    assert same(ours.state_dict(), elsewhere.load("segment").state_dict())


def test_lungs_behind_another_preprocessing_are_not_taken_over(elsewhere, still, new_run):
    run = new_run("here", still(preprocessing={"size_px": 32, "clahe_clip_limit": 0.0}))
    with pytest.raises(CheckpointError, match="another preprocessing"):
        take_over_lungs(run, elsewhere.path)
