"""`cxrexport train` learns, resumes after a kill as if never stopped, refuses what cannot work."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open

from cxrclient.files import only_one
from cxrexport.errors import CheckpointError
from cxrexport.manifest import write_manifest
from cxrexport.training import loop
from cxrexport.training.run import given_lungs
from cxrexport.training.run.folder import Run
from cxrexport.training.run.initial import initial_run

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
"""As in this process: another number of threads adds up in another order."""
KILLED = """
import os, signal, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
from cxrexport.cli.app import main

def kill(*_):
    if os.path.exists(state):
        os.kill(os.getpid(), signal.SIGKILL)

state = sys.argv.pop(1)
register_optimizer_step_post_hook(kill)
main()
"""
"""`cxrexport`, killed in the midst of the first epoch after a state was written."""


@pytest.fixture(scope="module")
def lungs_run(phantom_manifest, tmp_path_factory, tiny, train):
    """A run whose lung network is trained."""
    folder = tmp_path_factory.mktemp("run")
    recipe = folder / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(tiny()))
    result = train("segment", phantom_manifest, folder / "run", recipe)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert re.search(r"a film; on \d+ test films, Dice 0\.\d{3}, loss \d\.\d{3}\.", said)
    assert not re.search("[{}]", said), "sentences, no dicts"
    return folder / "run"


@pytest.fixture
def copy_of(lungs_run, tmp_path):
    return lambda name: shutil.copytree(lungs_run, tmp_path / name)


def history(run, network):
    lines = (run / network / "history.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_the_lung_network_learns_phantoms(lungs_run):
    rows = history(lungs_run, "segment")
    assert rows[-1]["dice"] > rows[0]["dice"]
    metrics = json.loads((lungs_run / "segment" / "metrics.json").read_text())
    assert metrics["test"]["dice"] > 0.6
    assert metrics["best_epoch"] == max(rows, key=lambda row: row["dice"])["epoch"]
    assert not (lungs_run / "segment" / "state.pt").exists()
    assert list((lungs_run / "segment" / "tensorboard").iterdir())


def test_a_checkpoint_is_bound_to_recipe_and_preprocessing(lungs_run):
    with safe_open(lungs_run / "segment" / "checkpoint.safetensors", framework="pt") as file:
        bound = file.metadata()
    recipe = Run.open(lungs_run).recipe
    assert bound["recipe_digest"] == recipe.digest_of("segment")
    assert bound["preprocessing_digest"] == recipe.spec.digest


def test_a_killed_run_ends_as_an_uninterrupted_one(phantom_manifest, recipe_file, train, tmp_path):
    """Every option at once, and the signal that nothing can catch."""
    options = {"one_cycle": 0.3, "ema": 0.8, "accumulate": 2, "batch_size": 2, "patience": 3}
    recipe = recipe_file(input="film", classify={**options, "class_weights": "balanced"})
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train("resnet34", phantom_manifest, whole, recipe).exit_code == 0
    command = [sys.executable, "-c", KILLED, cut / "resnet34" / "state.pt", "train", "resnet34"]
    command += ["--manifest", phantom_manifest, "--output", cut, "--recipe", recipe]
    killed = subprocess.run(command, capture_output=True, text=True, env=ONE_THREAD)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (cut / "resnet34" / "metrics.json").exists()
    resumed = train("resnet34", phantom_manifest, cut, recipe)
    assert "Resuming after epoch" in resumed.output
    assert history(cut, "resnet34") == history(whole, "resnet34")
    weights = [Run.open(run).load("resnet34").state_dict() for run in (whole, cut)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_trained_network_is_not_trained_again(lungs_run, phantom_manifest, recipe_file, train):
    before = (lungs_run / "segment" / "checkpoint.safetensors").stat().st_mtime_ns
    result = train("segment", phantom_manifest, lungs_run, recipe_file())
    assert result.exit_code == 0
    assert "trained already" in result.output
    assert (lungs_run / "segment" / "checkpoint.safetensors").stat().st_mtime_ns == before


def test_backbones_need_the_lung_network_first(phantom_manifest, recipe_file, train, tmp_path):
    result = train("vgg16", phantom_manifest, tmp_path / "run", recipe_file())
    assert result.exit_code == 1
    assert "CHECKPOINT: segment is not trained" in result.words


def test_densenet121_is_trained_by_its_name(phantom_manifest, recipe_file, train, tmp_path):
    recipe = recipe_file(input="film", classify={"epochs": 1})
    result = train("densenet121", phantom_manifest, tmp_path / "run", recipe)
    assert result.exit_code == 0, result.output
    assert Run.open(tmp_path / "run").folder("densenet121").complete


def test_all_is_what_is_served(phantom_manifest, recipe_file, train, tmp_path):
    """With the served networks there already, nothing is left to train: not DenseNet121 either."""
    served = ("segment", "resnet34", "resnet50", "resnet152", "vgg16")
    for name in served:
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "checkpoint.safetensors").touch()
        (tmp_path / "run" / name / "metrics.json").touch()
    result = train("all", phantom_manifest, tmp_path / "run", recipe_file())
    assert result.exit_code == 0, result.output
    assert [name for name in served if f"{name} is trained already" in result.words] == [*served]
    assert not (tmp_path / "run" / "densenet121").exists()


def test_of_a_lung_network_that_was_just_taken_it_is_not_said_that_it_is_trained_already(
    phantom_rows, recipe_file, train, tmp_path
):
    write_manifest([replace(row, mask=None) for row in phantom_rows], tmp_path / "bare.csv")
    for name in ("resnet34", "resnet50", "resnet152", "vgg16"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "checkpoint.safetensors").touch()
        (tmp_path / "run" / name / "metrics.json").touch()
    first, second = (
        train("all", tmp_path / "bare.csv", tmp_path / "run", recipe_file()) for _ in range(2)
    )
    assert first.exit_code == second.exit_code == 0, first.output + second.output
    assert "The lung network is that of repository starter" in first.words
    assert "vgg16 is trained already" in first.words
    assert "segment is trained already" not in first.words
    assert "segment is trained already" in second.words


def test_a_run_keeps_to_its_recipe(lungs_run, phantom_manifest, recipe_file, train):
    result = train("resnet34", phantom_manifest, lungs_run, recipe_file(seed=9))
    assert result.exit_code == 2
    assert "another recipe" in result.words


def test_weights_of_another_preprocessing_are_refused(copy_of):
    run = copy_of("other")
    recipe = json.loads((run / "recipe.json").read_text())
    recipe["preprocessing"]["size_px"] = 96
    (run / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(CheckpointError, match="do not belong together"):
        Run.open(run).load("segment")


def test_a_damaged_checkpoint_is_refused(copy_of):
    run = copy_of("damaged")
    path = run / "segment" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        Run.open(run).load("segment")


def test_a_half_trained_network_is_not_used(copy_of):
    run = copy_of("half")
    (run / "segment" / "metrics.json").unlink()
    with pytest.raises(CheckpointError, match="not trained to its end"):
        Run.open(run).load("segment")


def test_a_run_cut_off_before_its_figures_is_finished_without_training_again(
    still, drawn_films, new_run, fit
):
    recipe = still()
    whole, run = new_run("whole", recipe), new_run("cut", recipe)
    fit("vgg16", whole, drawn_films(recipe))
    with (
        mock.patch.object(loop, "_finish", side_effect=RuntimeError("cut off")),
        pytest.raises(RuntimeError),
    ):
        fit("vgg16", run, drawn_films(recipe))
    fit("vgg16", run, drawn_films(recipe))
    assert history(run.path, "vgg16") == history(whole.path, "vgg16")


def test_a_backbone_is_bound_to_the_lung_network_it_learnt_behind(
    copy_of, phantom_manifest, recipe_file, train
):
    run = copy_of("bound")
    recipe = recipe_file(classify={"epochs": 1})
    assert train("vgg16", phantom_manifest, run, recipe).exit_code == 0
    opened = Run.open(run)
    opened.load("vgg16")
    opened.save("segment", opened.make("segment"), {"epoch": "other"})
    with pytest.raises(CheckpointError, match="segment_sha256"):
        opened.load("vgg16")


def test_a_backbone_of_films_alone_is_bound_to_no_lung_network(still, drawn_films, new_run, fit):
    recipe = still({"epochs": 1})
    run = new_run("run", recipe)
    fit("vgg16", run, drawn_films(recipe))
    run.save("segment", run.make("segment"), {"epoch": "1"})
    run.load("vgg16")


# --- fine-tuning -------------------------------------------------------------------------------


def test_fine_tuning_takes_the_lungs_over_and_freezes_the_features(
    copy_of, phantom_manifest, phantom_rows, recipe_file, train, tmp_path, caplog
):
    there, here = copy_of("there"), tmp_path / "here"
    assert train("vgg16", phantom_manifest, there, recipe_file()).exit_code == 0
    rows = [
        replace(r, mask=None, label=r.label.replace("non-covid", "normal")) for r in phantom_rows
    ]
    write_manifest(rows, tmp_path / "here.csv")
    recipe = recipe_file(negative="normal", seed=8, classify={"epochs": 1})
    fine_tuning = ("--init", there, "--freeze", "features")
    result = train("vgg16", tmp_path / "here.csv", here, recipe, *fine_tuning)
    assert result.exit_code == 0, result.output
    assert "its head starts anew" in caplog.text
    assert initial_run(Run.open(here)).samefile(there)
    ours, theirs = (Run.open(run).load("vgg16").features.state_dict() for run in (here, there))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    ours, theirs = (Run.open(run).load("segment").state_dict() for run in (here, there))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_the_lung_network_itself_goes_on_from_the_other_run_where_it_is_asked_for(
    lungs_run, phantom_manifest, recipe_file, train, tmp_path, tiny
):
    """One step at a rate of almost nothing: what comes out is what went in."""
    schedule = {**tiny()["segment"], "epochs": 1, "learning_rate": 1e-12}
    here, recipe = tmp_path / "here", recipe_file(segment=schedule)
    result = train("segment", phantom_manifest, here, recipe, "--init", lungs_run)
    assert result.exit_code == 0, result.output
    ours, theirs = (Run.open(run).load("segment").state_dict() for run in (here, lungs_run))
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-6) for key in theirs)
    assert "taken_over" not in json.loads((here / "segment" / "metrics.json").read_text())


def test_without_masks_the_backbones_stand_behind_the_shipped_lung_network(
    phantom_rows, recipe_file, train, tmp_path
):
    write_manifest([replace(row, mask=None) for row in phantom_rows], tmp_path / "bare.csv")
    recipe = recipe_file(classify={"epochs": 1})
    result = train("resnet34", tmp_path / "bare.csv", tmp_path / "run", recipe)
    assert result.exit_code == 0, result.output
    assert "The lung network is that of repository starter, not trained here" in result.words
    run = Run.open(tmp_path / "run")
    ours, theirs = run.load("segment").state_dict(), given_lungs("starter").module.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert run.load("resnet34")
    assert initial_run(run) is None


def test_a_lung_network_that_is_named_is_taken_though_there_are_masks(
    lungs_run, phantom_manifest, recipe_file, train, tmp_path
):
    words = ("--lungs", lungs_run)
    recipe = recipe_file(classify={"epochs": 1}, seed=5)
    result = train("resnet34", phantom_manifest, tmp_path / "run", recipe, *words)
    assert result.exit_code == 0, result.output
    ours, theirs = (Run.open(r).load("segment").state_dict() for r in (tmp_path / "run", lungs_run))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    result = train("segment", phantom_manifest, tmp_path / "other", recipe, *words)
    assert result.exit_code == 2
    assert "segment trains one; leave out one" in result.words


# --- bad input ---------------------------------------------------------------------------------


def test_every_problem_of_the_films_is_listed_before_anything_is_trained(
    phantom_manifest, phantom_rows, recipe_file, train, tmp_path
):
    """With the line of each: an unreadable film, a film in two rows, a mask of another size."""
    shutil.copytree(Path(phantom_manifest).parent, tmp_path / "films")
    manifest = tmp_path / "films" / Path(phantom_manifest).name
    moved = [
        tmp_path / "films" / row.image.relative_to(Path(phantom_manifest).parent)
        for row in phantom_rows
    ]
    moved[2].write_bytes(moved[2].read_bytes()[:300])
    shutil.copy(moved[4], moved[5])
    mask = tmp_path / "films" / phantom_rows[7].mask.relative_to(Path(phantom_manifest).parent)
    cv2.imwrite(str(mask), np.full((9, 9), 255, np.uint8))
    result = train("all", manifest, tmp_path / "run", recipe_file())
    assert result.exit_code == 2
    for line, what in ((4, "NOT_READABLE"), (7, "the same film as in line 6"), (9, "9x9 pixels")):
        assert f":{line}: " in result.words
        assert what in result.words
    assert not list((tmp_path / "run").glob("*/*"))


def test_labels_are_checked_before_the_lung_network_is_trained(
    phantom_manifest, recipe_file, train, tmp_path
):
    result = train("all", phantom_manifest, tmp_path / "run", recipe_file(positive="tb"))
    assert result.exit_code == 2
    assert "unknown label 'covid'" in result.words
    assert not (tmp_path / "run" / "segment").exists()


def test_pretrained_weights_are_checked_before_anything_is_trained(
    phantom_manifest, recipe_file, train, tmp_path
):
    none = ("--pretrained", tmp_path / "none.pth")
    result = train("all", phantom_manifest, tmp_path / "run", recipe_file(), *none)
    assert result.exit_code == 1
    assert "is not a file" in result.words
    assert not (tmp_path / "run" / "segment").exists()


def test_one_class_alone_is_refused_before_training(
    lungs_run, phantom_rows, recipe_file, train, tmp_path
):
    write_manifest([r for r in phantom_rows if r.label == "covid"], tmp_path / "one.csv")
    result = train("resnet34", tmp_path / "one.csv", lungs_run, recipe_file())
    assert result.exit_code == 2
    assert "no non-covid film" in result.words


def test_a_split_that_was_drawn_without_a_class_is_refused(
    lungs_run, phantom_rows, recipe_file, train, tmp_path
):
    """Two positive patients cannot be in three splits."""
    rows = [replace(row, split=None) for row in phantom_rows]
    kept = [r for r in rows if r.label == "non-covid"] + [r for r in rows if r.label == "covid"][:2]
    write_manifest(kept, tmp_path / "few.csv")
    result = train("resnet34", tmp_path / "few.csv", lungs_run, recipe_file())
    assert result.exit_code == 2
    assert "has no covid film" in result.words


def test_a_run_that_is_being_trained_is_not_joined(phantom_manifest, recipe_file, train, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with only_one(run, RuntimeError()):
        result = train("segment", phantom_manifest, run, recipe_file())
    assert result.exit_code == 2
    assert "RECIPE: Another `cxrexport train` works in" in result.words
    assert not list(run.iterdir())
