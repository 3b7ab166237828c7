"""Several processes learn as one: the same films, the same steps, one run's folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from torch.nn.utils import parameters_to_vector

from cxrexport.errors import ManifestError, RecipeError
from cxrexport.training import loop, resume
from cxrexport.training.classify import start_backbone
from cxrexport.training.recipe import PROBABILITIES
from cxrexport.training.resume import EpochOrder
from cxrexport.training.run.folder import Run


def shares_of(order, processes, monkeypatch):
    """What each of several processes would see of an epoch."""
    shares = []
    monkeypatch.setattr(resume, "processes", lambda: processes)
    for number in range(processes):
        monkeypatch.setattr(resume, "process", lambda number=number: number)
        shares.append(list(order))
        assert len(order) == len(shares[-1])
    return shares


@pytest.mark.parametrize("processes", [2, 4])
def test_each_film_of_an_epoch_is_seen_by_one_process(processes, monkeypatch):
    order = EpochOrder(24, batch=4)
    alone = list(order)
    shares = shares_of(order, processes, monkeypatch)
    assert sorted(film for share in shares for film in share) == sorted(alone) == list(range(24))
    assert len({len(share) for share in shares}) == 1


def test_a_batch_of_all_processes_is_the_batch_of_one(monkeypatch):
    order = EpochOrder(22, batch=4)
    order.seed = 9
    alone = list(order)
    shares = shares_of(order, 2, monkeypatch)
    for step in range(5):
        together = {film for share in shares for film in share[2 * step : 2 * step + 2]}
        assert together == set(alone[4 * step : 4 * step + 4])


def test_a_batch_that_cannot_be_dealt_out_is_refused(still, drawn_films, new_run, fit, monkeypatch):
    monkeypatch.setattr(loop, "processes", lambda: 3)
    recipe = still({"batch_size": 4})
    with pytest.raises(RecipeError, match="4 films cannot be dealt out evenly to 3 processes"):
        fit("vgg16", new_run("run", recipe), drawn_films(recipe))


def test_more_processes_than_films_are_refused(still, drawn_films, new_run, fit, monkeypatch):
    for module in (loop, resume):
        monkeypatch.setattr(module, "processes", lambda: 16)
    recipe = still({"batch_size": 16})
    with pytest.raises(ManifestError, match="12 training films are too few for 16 processes"):
        fit("vgg16", new_run("run", recipe), drawn_films(recipe))


# --- two real processes ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe_of_both(tiny, tmp_path_factory):
    """VGG16 has no batch norm, whose statistics are each process's own on CPUs.

    The rate is low, or rounding would grow from step to step.
    """
    options = {
        "epochs": 2,
        "warm_up": 1,
        "learning_rate": 1e-5,
        "ema": 0.8,
        "patience": 5,
        "class_weights": "balanced",
    }
    recipe = tiny(options, input="film", augmentation=dict.fromkeys(PROBABILITIES, 0.0))
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope="module")
def two(phantom_manifest, recipe_of_both, tmp_path_factory):
    """Train with torchrun in two processes; gives the run's folder and what was said."""
    run = tmp_path_factory.mktemp("two") / "run"
    command = [Path(sys.executable).with_name("torchrun"), "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "cxrexport", "train", "vgg16", "--manifest", phantom_manifest]
    command += ["--output", run, "--recipe", recipe_of_both]
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return run, " ".join(done.stderr.split())


@pytest.mark.slow
def test_two_processes_write_one_whole_run(two):
    run, _ = two
    metrics = json.loads((run / "vgg16" / "metrics.json").read_text())
    assert metrics["epochs"] == 2
    assert metrics["films"]["train"] == 17
    assert [row["epoch"] for row in Run.open(run).folder("vgg16").epochs()] == [1, 2]
    assert len(list((run / "vgg16" / "tensorboard").iterdir())) == 1
    assert not (run / "vgg16" / "state.pt").exists()


@pytest.mark.slow
def test_only_the_first_of_the_processes_talks(two):
    _, said = two
    assert said.count("Preprocessed 24 films") == 1
    assert said.count("vgg16 1/2: ") == 1


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(
    two, phantom_manifest, recipe_of_both, train, tmp_path
):
    alone = train("vgg16", phantom_manifest, tmp_path / "alone", recipe_of_both)
    assert alone.exit_code == 0, alone.output
    ours, theirs = (Run.open(run) for run in (two[0], tmp_path / "alone"))
    histories = (run.folder("vgg16").epochs() for run in (ours, theirs))
    for both, one in zip(*histories, strict=True):
        for figure in ("train_loss", "loss", "learning_rate"):
            assert both[figure] == pytest.approx(one[figure], rel=1e-5)
    start = parameters_to_vector(start_backbone("vgg16", theirs).parameters()).detach()
    together, apart = (
        parameters_to_vector(run.load("vgg16").parameters()).detach() - start
        for run in (ours, theirs)
    )
    assert float(apart.norm()) > 0
    assert float((together - apart).norm() / apart.norm()) < 1e-2
