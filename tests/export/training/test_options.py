"""Each option of a schedule does what it says, and a run that was cut off goes on as it would."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cxrexport.training import loop
from cxrexport.training.classify import start_backbone
from cxrexport.training.resume import EpochOrder


def weights_of(run, name):
    return run.load(name).state_dict()


def largest_difference(ours, theirs):
    return max(float((ours[key] - theirs[key]).abs().max()) for key in ours)


def history(run, name):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.folder(name).epochs()]


# --- accumulated gradients ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def skewed():
    """Labels of which a quarter is positive: batches differ in their classes."""
    return [int(i % 4 == 0) for i in range(20)]


def test_accumulated_batches_learn_as_one_batch_of_their_size(
    still, drawn_films, skewed, new_run, fit
):
    """VGG16 has no batch norm, so the batch's size shows in nothing but the gradient."""
    weights = {}
    for name, options in {
        "one": {"batch_size": 4},
        "accumulated": {"batch_size": 2, "accumulate": 2},
        "not": {"batch_size": 2},
    }.items():
        recipe = still({"epochs": 2, "class_weights": "balanced", **options})
        run = new_run(name, recipe)
        fit("vgg16", run, drawn_films(recipe, skewed))
        weights[name] = weights_of(run, "vgg16")
    assert largest_difference(weights["one"], weights["accumulated"]) < 1e-5
    assert largest_difference(weights["one"], weights["not"]) > 1e-3


def test_an_epoch_of_accumulated_batches_has_only_whole_steps(
    still, drawn_films, new_run, fit, each_step
):
    steps = each_step(lambda optimizer: 1)
    recipe = still({"epochs": 1, "batch_size": 2, "accumulate": 4})
    fit("vgg16", new_run("run", recipe), drawn_films(recipe))
    assert len(steps) == 1, "12 films are one step of 8; 4 wait for the next epoch's order"


@pytest.mark.parametrize(
    ("films", "batch", "accumulate", "used"),
    [(12, 4, 1, 12), (13, 4, 1, 12), (3, 4, 1, 3), (12, 2, 4, 8), (7, 2, 4, 6), (16, 2, 4, 16)],
)
def test_an_epoch_is_cut_to_whole_steps(films, batch, accumulate, used):
    order = list(EpochOrder(films, batch, accumulate))
    assert len(order) == used
    assert len(set(order)) == used


# --- class weights -----------------------------------------------------------------------------


def test_balanced_class_weights_weigh_the_loss_by_the_inverse_of_each_class(
    still, drawn_films, skewed, new_run, fit
):
    recipe = still({"epochs": 1, "class_weights": "balanced"})
    run, films = new_run("run", recipe), drawn_films(recipe, skewed)
    metrics = fit("vgg16", run, films)
    # 3 of 12 training films are positive: 12 / (2·9) and 12 / (2·3).
    weight = np.array([2 / 3, 2.0])
    network = run.load("vgg16")
    total = 0.0
    for item in films.validation:
        logits = network(item["film"][None], item["lungs"][None]).logits[0].detach().double()
        negative, positive = logits.tolist()
        margin = (positive - negative) * (1 if item["label"] else -1)
        total += weight[item["label"]] * math.log1p(math.exp(-margin))
    assert metrics["validation"]["loss"] == pytest.approx(total / len(films.validation), rel=1e-5)


def test_without_class_weights_every_film_weighs_the_same(still, drawn_films, skewed, new_run, fit):
    recipe = still({"epochs": 1})
    run, films = new_run("run", recipe), drawn_films(recipe, skewed)
    metrics = fit("vgg16", run, films)
    network = run.load("vgg16")
    losses = []
    for item in films.validation:
        logits = network(item["film"][None], item["lungs"][None]).logits[0].detach().double()
        losses.append(-float(torch.log_softmax(logits, 0)[item["label"]]))
    assert metrics["validation"]["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


# --- early stopping ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hopeless(still, drawn_films):
    """The validation films' labels are the wrong way round: learning makes them worse."""
    recipe = still({"epochs": 8, "patience": 2, "learning_rate": 3e-3})
    films = drawn_films(recipe)
    for item in films.validation.data:
        item["label"] = 1 - item["label"]
    return recipe, films


def test_training_stops_when_validation_has_not_improved_for_its_patience(hopeless, new_run, fit):
    recipe, films = hopeless
    run = new_run("run", recipe)
    metrics = fit("vgg16", run, films)
    losses = [row["loss"] for row in history(run, "vgg16")]
    assert len(losses) < recipe.classify.epochs
    assert len(losses) - (1 + int(np.argmin(losses))) == 2
    assert metrics["best_epoch"] == 1 + int(np.argmin(losses))


def test_the_last_epoch_is_kept_where_the_schedule_says_so(hopeless, new_run, fit):
    recipe, films = hopeless
    schedule = recipe.classify.model_copy(update={"epochs": 3, "patience": None, "keep": "last"})
    run = new_run("last", recipe.model_copy(update={"classify": schedule}))
    metrics = fit("vgg16", run, films)
    losses = [row["loss"] for row in history(run, "vgg16")]
    assert int(np.argmin(losses)) < 2, "the last epoch is not the best"
    assert (metrics["best_epoch"], metrics["chosen_by"]) == (3, "epoch")
    assert metrics["validation"]["loss"] == pytest.approx(losses[-1], rel=1e-5)


def test_a_resumed_training_stops_where_it_would_have(hopeless, new_run, fit, cut_off_after):
    recipe, films = hopeless
    whole, cut = new_run("whole", recipe), new_run("cut", recipe)
    fit("vgg16", whole, films)
    with cut_off_after(2):
        fit("vgg16", cut, films)
    fit("vgg16", cut, films)
    assert history(cut, "vgg16") == history(whole, "vgg16")


def test_a_training_that_stopped_early_is_not_continued_for_its_figures(
    hopeless, new_run, fit, monkeypatch
):
    recipe, films = hopeless
    run = new_run("run", recipe)
    finish = loop._finish
    monkeypatch.setattr(loop, "_finish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit("vgg16", run, films)
    stopped_at = len(history(run, "vgg16"))
    monkeypatch.setattr(loop, "_finish", finish)
    fit("vgg16", run, films)
    assert len(history(run, "vgg16")) == stopped_at < recipe.classify.epochs


# --- one cycle, and averaged weights -----------------------------------------------------------


def test_one_cycle_raises_the_rate_for_its_share_of_the_steps_and_lowers_it_to_zero(
    still, drawn_films, new_run, fit, each_step
):
    rates = each_step(lambda optimizer: optimizer.param_groups[0]["lr"])
    recipe = still({"epochs": 4, "one_cycle": 0.5, "learning_rate": 1e-3})
    fit("vgg16", new_run("run", recipe), drawn_films(recipe))
    assert len(rates) == 12
    peak = int(np.argmax(rates))
    assert peak in (5, 6)  # the middle of twelve, counted from 0
    assert rates[peak] == pytest.approx(1e-3, rel=0.05)
    assert all(np.diff(rates[: peak + 1]) > 0)
    assert all(np.diff(rates[peak:]) < 0)
    assert rates[-1] < rates[peak] / 10


def test_kept_weights_are_the_moving_average_over_the_steps(
    still, drawn_films, new_run, fit, each_step
):
    recipe = still({"epochs": 1, "batch_size": 2, "accumulate": 2, "ema": 0.75})
    run = new_run("run", recipe)
    start = start_backbone("vgg16", new_run("start", recipe))
    seen = each_step(lambda o: [w.detach().clone() for w in o.param_groups[0]["params"]])
    fit("vgg16", run, drawn_films(recipe))
    assert len(seen) == 3
    expected = [weight.detach().double() for weight in start.parameters()]
    for step in seen:
        expected = [
            0.75 * old + 0.25 * new.double() for old, new in zip(expected, step, strict=True)
        ]
    kept = list(run.load("vgg16").parameters())
    for ours, theirs in zip(kept, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-6, rtol=0)


# --- resuming ----------------------------------------------------------------------------------


ALL = {"one_cycle": 0.3, "ema": 0.8, "accumulate": 3, "batch_size": 2, "optimizer": "adamw"}


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("vgg16", {"one_cycle": 0.3}),
        ("vgg16", {"accumulate": 2, "batch_size": 2}),
        ("resnet34", {"ema": 0.8}),
        ("resnet34", ALL),
    ],
    ids=["one cycle", "accumulate", "ema", "all"],
)
def test_a_run_that_was_cut_off_ends_as_an_uninterrupted_one(
    network, options, still, drawn_films, new_run, fit, cut_off_after
):
    recipe = still({**options, "class_weights": "balanced"}, augmentation={"flip": 0.5})
    whole, cut = new_run("whole", recipe), new_run("cut", recipe)
    fit(network, whole, drawn_films(recipe))
    with cut_off_after(2):
        fit(network, cut, drawn_films(recipe))
    assert not cut.folder(network).complete
    fit(network, cut, drawn_films(recipe))
    assert history(cut, network) == history(whole, network)
    ours, theirs = weights_of(cut, network), weights_of(whole, network)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
