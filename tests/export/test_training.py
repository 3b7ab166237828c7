"""Training learns, resumes after a kill as if never stopped, and refuses what cannot work."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.manifest import write_manifest
from cxrexport.training.recipe import load_recipe
from cxrexport.training.run import Run

TINY = {
    "name": "tiny",
    "negative": "non-covid",
    "positive": "covid",
    "preprocessing": {"size_px": 64},
    "width": 0.125,
    "precision": "fp32",
    "segment": {
        "epochs": 4,
        "batch_size": 4,
        "learning_rate": 5e-3,
        "learning_rate_decay": 0.9,
        "weight_decay": 0.0,
    },
    "classify": {
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "learning_rate_decay": 0.9,
        "weight_decay": 0.0,
    },
}


def write_recipe(folder, **changes):
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return path


def train(network, manifest, output, recipe):
    arguments = ["train", network, "--manifest", manifest, "--output", output, "--recipe", recipe]
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def lungs_run(phantom_manifest, tmp_path_factory):
    """A run whose lung network is trained."""
    folder = tmp_path_factory.mktemp("run")
    result = train("segment", phantom_manifest, folder / "run", write_recipe(folder))
    assert result.exit_code == 0, result.output
    return folder / "run"


@pytest.fixture
def copy_of(lungs_run, tmp_path):
    import shutil

    def copy(name):
        return shutil.copytree(lungs_run, tmp_path / name)

    return copy


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


def test_a_killed_run_ends_as_an_uninterrupted_one(copy_of, phantom_manifest, tmp_path):
    recipe = write_recipe(tmp_path)
    whole, cut = copy_of("whole"), copy_of("cut")
    assert train("resnet34", phantom_manifest, whole, recipe).exit_code == 0
    command = [Path(sys.executable).with_name("cxrexport"), "train", "resnet34"]
    command += ["--manifest", phantom_manifest, "--output", cut, "--recipe", recipe]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (cut / "resnet34" / "state.pt").exists():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (cut / "resnet34" / "metrics.json").exists()
    resumed = train("resnet34", phantom_manifest, cut, recipe)
    assert "Resuming after epoch" in resumed.output
    assert history(cut, "resnet34") == history(whole, "resnet34")
    weights = [Run.open(run).load("resnet34").state_dict() for run in (whole, cut)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_trained_network_is_not_trained_again(lungs_run, phantom_manifest, tmp_path):
    before = (lungs_run / "segment" / "checkpoint.safetensors").stat().st_mtime_ns
    result = train("segment", phantom_manifest, lungs_run, write_recipe(tmp_path))
    assert result.exit_code == 0
    assert "trained already" in result.output
    assert (lungs_run / "segment" / "checkpoint.safetensors").stat().st_mtime_ns == before


def test_backbones_need_the_lung_network_first(phantom_manifest, tmp_path):
    result = train("vgg16", phantom_manifest, tmp_path / "run", write_recipe(tmp_path))
    assert result.exit_code == 1
    assert "CHECKPOINT: segment is not trained" in " ".join(result.output.split())


def test_a_run_keeps_to_its_recipe(lungs_run, phantom_manifest, tmp_path):
    other = write_recipe(tmp_path, seed=9)
    result = train("resnet34", phantom_manifest, lungs_run, other)
    assert result.exit_code == 2
    assert "another recipe" in " ".join(result.output.split())


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
    copy_of, phantom_manifest, tmp_path
):
    from unittest import mock

    from cxrexport.training import loop

    recipe, run = write_recipe(tmp_path), copy_of("figures")
    whole = copy_of("whole-figures")
    assert train("resnet34", phantom_manifest, whole, recipe).exit_code == 0
    with mock.patch.object(loop, "_finish", side_effect=RuntimeError("cut off")):
        assert train("resnet34", phantom_manifest, run, recipe).exit_code == 1
    assert train("resnet34", phantom_manifest, run, recipe).exit_code == 0
    assert history(run, "resnet34") == history(whole, "resnet34")


def test_a_backbone_is_bound_to_the_lung_network_it_learnt_behind(
    copy_of, phantom_manifest, tmp_path
):
    recipe, run = write_recipe(tmp_path), copy_of("bound")
    assert train("vgg16", phantom_manifest, run, recipe).exit_code == 0
    Run.open(run).load("vgg16")
    opened = Run.open(run)
    opened.save("segment", opened.make("segment"), {"epoch": "other"})
    with pytest.raises(CheckpointError, match="segment_sha256"):
        opened.load("vgg16")


def test_labels_are_checked_before_the_lung_network_is_trained(phantom_manifest, tmp_path):
    recipe = write_recipe(tmp_path, positive="tb")
    result = train("all", phantom_manifest, tmp_path / "run", recipe)
    assert result.exit_code == 2
    assert "MANIFEST" in result.output
    assert not (tmp_path / "run" / "segment").exists()


def test_pretrained_weights_are_checked_before_anything_is_trained(phantom_manifest, tmp_path):
    arguments = ["train", "all", "--manifest", phantom_manifest, "--output", tmp_path / "run"]
    arguments += ["--recipe", write_recipe(tmp_path), "--pretrained", tmp_path / "none.pth"]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 1
    assert "is not a file" in " ".join(result.output.split())
    assert not (tmp_path / "run" / "segment").exists()


def test_one_class_alone_is_refused_before_training(lungs_run, phantom_rows, tmp_path):
    write_manifest([r for r in phantom_rows if r.label == "covid"], tmp_path / "one.csv")
    result = train("resnet34", tmp_path / "one.csv", lungs_run, write_recipe(tmp_path))
    assert result.exit_code == 2
    assert "no non-covid film" in " ".join(result.output.split())


@pytest.mark.parametrize("name", ["starter", "paper"])
def test_shipped_recipes_are_whole(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.labels == ("non-covid", "covid")


def test_the_paper_recipe_says_what_the_study_says():
    recipe = load_recipe("paper")
    assert (recipe.spec.size_px, recipe.width) == (1024, 1.0)
    schedule = recipe.schedule("resnet50")
    assert schedule.optimizer == "adam"
    assert (schedule.epochs, schedule.learning_rate, schedule.weight_decay) == (32, 1e-6, 1e-2)
    augmentation = recipe.augmentation
    assert (augmentation.brighten, augmentation.gamma, augmentation.clahe) == (0.4, 0.3, 0.4)
    assert (augmentation.rotate, augmentation.shear, augmentation.scale) == (0.4, 0.4, 0.4)
    assert (augmentation.rotate_degrees, augmentation.shear_degrees) == (7, 7)
    assert (augmentation.scale_by, augmentation.flip) == (0.2, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widht": 1.0}, "widht"),
        ({"width": 2.0}, "width"),
        ({"positive": "non-covid"}, "must differ"),
        ({"preprocessing": {"size_px": 100}}, "size_px"),
        ({"overrides": {"vgg16": {"epochs": 0}}}, "epochs"),
    ],
)
def test_a_recipe_with_a_mistake_is_refused_by_field(tmp_path, changes, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(write_recipe(tmp_path, **changes)))


def test_an_unknown_recipe_is_refused():
    with pytest.raises(RecipeError, match="starter, paper or a YAML file"):
        load_recipe("nobody")


def test_the_lung_network_outlives_another_schedule_of_the_backbones(tmp_path):
    before = load_recipe(str(write_recipe(tmp_path)))
    after = load_recipe(str(write_recipe(tmp_path, classify={**TINY["classify"], "epochs": 9})))
    assert before.digest_of("segment") == after.digest_of("segment")
    assert before.digest_of("vgg16") != after.digest_of("vgg16")
