"""Parts that stay as they are, rates of their own, a head that warms up, features of one scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cxrexport.errors import RecipeError
from cxrexport.training.classify import start_backbone, train_backbone
from cxrexport.training.run.folder import Run
from cxrexport.training.run.origin import origin_of
from cxrexport.training.task import Scored

NORMS = torch.nn.modules.batchnorm._BatchNorm


@pytest.fixture(scope="module")
def learnt(still, tmp_path_factory):
    """Starting weights of a backbone as a file; batch norms that have seen something."""

    def make(name):
        folder = tmp_path_factory.mktemp("learnt")
        module = Run(folder / "run", still()).make(name)
        generator = torch.Generator().manual_seed(5)
        for part in module.modules():
            if isinstance(part, NORMS):
                part.running_mean.normal_(0, 0.1, generator=generator)
                part.running_var.uniform_(0.5, 2, generator=generator)
        weights = {k: v for k, v in module.state_dict().items() if not k.startswith("head.")}
        save_file(weights, folder / f"{name}.safetensors")
        return str(folder / f"{name}.safetensors")

    return make


@pytest.fixture(scope="module")
def resnet34(learnt):
    return learnt("resnet34")


def parts_of(module, first, last):
    """The state of some parts, in order."""
    return [t.clone() for part in module.parts[first:last] for t in part.state_dict().values()]


def same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


# --- freezing ----------------------------------------------------------------------------------


def test_frozen_parts_are_bit_for_bit_the_same_and_the_others_learn(
    resnet34, still, drawn_films, new_run, fit
):
    """Weights and batch norms' statistics, also under a moving average and weight decay."""
    recipe = still(
        {"epochs": 1, "frozen": 3, "ema": 0.9, "optimizer": "adamw", "weight_decay": 0.1}
    )
    start = start_backbone("resnet34", new_run("start", recipe), resnet34)
    run = new_run("run", recipe)
    fit("resnet34", run, drawn_films(recipe), pretrained=resnet34)
    end = run.load("resnet34")
    assert same(parts_of(end, 0, 3), parts_of(start, 0, 3))
    assert not same(parts_of(end, 3, 4), parts_of(start, 3, 4))
    assert not same(parts_of(end, 4, 5), parts_of(start, 4, 5))


@pytest.mark.parametrize("network", ["resnet34", "densenet121"])
def test_norms_of_frozen_parts_are_in_evaluation_mode_while_the_others_train(
    network, learnt, still, new_run
):
    """DenseNet's parts lie in one module, so it is no matter of whole children."""
    module = start_backbone(network, new_run("run", still({"frozen": 2})), learnt(network))
    Scored(module, lambda module, *inputs: None).train()
    for number, part in enumerate(module.parts):
        norms = {norm.training for norm in part.modules() if isinstance(norm, NORMS)}
        assert norms == {number >= 2}


def test_norms_that_are_kept_keep_their_statistics_while_their_weights_learn(
    resnet34, still, drawn_films, new_run, fit
):
    recipe = still({"epochs": 1, "norms": "kept", "ema": 0.9})
    start = start_backbone("resnet34", new_run("start", recipe), resnet34).state_dict()
    run = new_run("run", recipe)
    fit("resnet34", run, drawn_films(recipe), pretrained=resnet34)
    end = run.load("resnet34").state_dict()
    assert torch.equal(end["bn1.running_mean"], start["bn1.running_mean"])
    assert not torch.equal(end["bn1.weight"], start["bn1.weight"])


def test_parts_that_were_never_trained_are_not_frozen(still, new_run):
    with pytest.raises(RecipeError, match="give --init or --pretrained"):
        start_backbone("resnet34", new_run("run", still({"frozen": 1})))


def test_pretrained_features_can_be_frozen_from_the_command_line_and_it_is_noted(
    resnet34, still, drawn_films, new_run, fit, cut_off_after
):
    recipe = still({"epochs": 2})
    run = new_run("run", recipe)
    with cut_off_after(1):
        fit("resnet34", run, drawn_films(recipe), pretrained=resnet34, freeze=True)
    assert "features frozen" in str(origin_of(run, "resnet34"))
    with pytest.raises(RecipeError, match="was begun from"):
        start_backbone("resnet34", run, resnet34)
    fit("resnet34", run, drawn_films(recipe), pretrained=resnet34, freeze=True)
    start = start_backbone("resnet34", new_run("start", recipe), resnet34)
    assert same(parts_of(run.load("resnet34"), 0, 5), parts_of(start, 0, 5))


# --- rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_cycle", [None, 0.5])
def test_each_part_learns_at_its_own_rate(
    one_cycle, resnet34, still, drawn_films, new_run, quiet, each_step
):
    def look(optimizer):
        return {id(w): group["lr"] for group in optimizer.param_groups for w in group["params"]}

    seen = each_step(look)
    rates = {"part4": 0.1, "part5": 0.01, "head": 2.0}
    recipe = still({"epochs": 2, "frozen": 2, "rates": rates, "one_cycle": one_cycle})
    run, films = new_run("run", recipe), drawn_films(recipe)
    module = start_backbone("resnet34", run, resnet34)
    train_backbone("resnet34", module, run, films, quiet)
    expected = {id(w): 2.0 for w in module.head.parameters()}
    for number, factor in ((2, 1.0), (3, 0.1), (4, 0.01)):
        expected |= {id(w): factor for w in module.parts[number].parameters()}
    for step in seen:
        head = step[id(module.head.fc1.weight)] / 2
        assert {key: pytest.approx(factor * head) for key, factor in expected.items()} == step


# --- warm-up -----------------------------------------------------------------------------------


def test_the_head_alone_learns_while_it_warms_up_and_a_resumed_run_agrees(
    resnet34, still, drawn_films, new_run, fit, cut_off_after
):
    recipe = still({"epochs": 3, "warm_up": 2})
    start = start_backbone("resnet34", new_run("start", recipe), resnet34).state_dict()
    whole, cut = new_run("whole", recipe), new_run("cut", recipe)
    fit("resnet34", whole, drawn_films(recipe), pretrained=resnet34)
    with cut_off_after(2):
        fit("resnet34", cut, drawn_films(recipe), pretrained=resnet34)
    warm = torch.load(cut.folder("resnet34").state, weights_only=False)["network"]
    changed = {key for key in start if not torch.equal(warm[key], start[key])}
    assert changed == {key for key in start if key.startswith("head.")}
    with cut_off_after(1):
        fit("resnet34", cut, drawn_films(recipe), pretrained=resnet34)
    end = torch.load(cut.folder("resnet34").state, weights_only=False)["network"]
    assert not torch.equal(end["conv1.weight"], start["conv1.weight"])
    fit("resnet34", cut, drawn_films(recipe), pretrained=resnet34)
    losses = [[row["loss"] for row in run.folder("resnet34").epochs()] for run in (whole, cut)]
    assert losses[0] == losses[1]


# --- standardised features ---------------------------------------------------------------------


@pytest.mark.parametrize("cached", [None, True])
def test_the_head_brings_its_features_of_the_training_films_to_mean_0_and_deviation_1(
    cached, resnet34, still, drawn_films, new_run, fit
):
    recipe = still({"epochs": 1, "frozen": 5, "standardise": True, "cached": cached})
    run, films = new_run("run", recipe), drawn_films(recipe)
    fit("resnet34", run, films, pretrained=resnet34)
    module = run.load("resnet34")
    with torch.inference_mode():
        pooled = torch.cat(
            [
                module.head.pool(
                    module.extract(module.enter(item["film"][None], item["lungs"][None])),
                    item["lungs"][None],
                )
                for item in films.train
            ]
        ).numpy()
    deviation = pooled.std(axis=0)
    assert np.allclose(module.head.mean, pooled.mean(axis=0), atol=1e-5)
    assert np.allclose(module.head.scale, np.where(deviation > 1e-6, deviation, 1), atol=1e-5)
