"""Trainings small enough for tests: 32 px, an eighth of the width, a few films."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console
from torch.optim.optimizer import register_optimizer_step_post_hook
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.manifest import FilmRow
from cxrexport.training import loop
from cxrexport.training.classify import start_backbone, train_backbone
from cxrexport.training.films.in_memory import films_of_maps
from cxrexport.training.recipe import PROBABILITIES, Recipe
from cxrexport.training.run.folder import Run

TINY = {
    "name": "tiny",
    "negative": "non-covid",
    "positive": "covid",
    "preprocessing": {"size_px": 32},
    "width": 0.125,
    "precision": "fp32",
    "segment": {
        "epochs": 4,
        "batch_size": 4,
        "learning_rate": 1e-2,
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
SPLITS = ("train",) * 12 + ("validation",) * 4 + ("test",) * 4
QUIET = Console(quiet=True)


@pytest.fixture(scope="session")
def tiny():
    """A recipe's fields; `classify` given as keywords is merged, what is None left out."""

    def make(classify=None, **changes):
        fields = {**copy.deepcopy(TINY), **changes}
        fields["classify"] |= classify or {}
        return fields

    return make


@pytest.fixture
def recipe_file(tiny, tmp_path):
    """Write a tiny recipe as a file."""

    def write(**changes):
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(tiny(**changes)))
        return path

    return write


@pytest.fixture(scope="session")
def train():
    """`cxrexport train`, in this process."""

    def run(network, manifest, output, recipe, *more):
        arguments = ["train", network, "--manifest", manifest, "--output", output]
        arguments += ["--recipe", recipe, *more]
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        result.words = " ".join(result.output.split())
        return result

    return run


@pytest.fixture(scope="session")
def still(tiny):
    """A recipe of films alone (no lung network needed), without augmentation."""

    def make(classify=None, **changes):
        none = dict.fromkeys(PROBABILITIES, 0.0)
        return Recipe(
            **tiny(classify, **{"input": "film", "augmentation": none, **changes}),
        )

    return make


@pytest.fixture(scope="session")
def drawn_films():
    """Films of noise, brighter where positive; their labels in turn, or as given."""

    def make(recipe, positive=None, splits=SPLITS):
        count = len(splits)
        positive = [i % 2 for i in range(count)] if positive is None else positive
        rng = np.random.default_rng(3)
        maps = rng.integers(0, 128, (count, 1, 32, 32), dtype=np.uint8)
        maps += np.array(positive, np.uint8).reshape(-1, 1, 1, 1) * 60
        rows = [
            FilmRow(
                image=Path(f"{i}.png"),
                patient_id=str(i),
                label=recipe.labels[positive[i]],
                split=splits[i],
            )
            for i in range(count)
        ]
        return films_of_maps(rows, np.arange(count), maps, None, recipe)

    return make


@pytest.fixture(scope="session")
def quiet():
    """A console that says nothing."""
    return QUIET


@pytest.fixture(scope="session")
def fit():
    """Train a backbone on films in memory; gives its `metrics.json`."""

    def run(name, run, films, **start):
        module = start_backbone(name, run, **start)
        return train_backbone(name, module, run, films, QUIET)

    return run


class CutOff(Exception):
    """The training was cut off."""


@pytest.fixture
def cut_off_after(monkeypatch):
    """Cut a training off right after the state of an epoch is written."""

    def arrange(epoch):
        saved = []

        def save_and_die(folder, resumable):
            whole(folder, resumable)
            saved.append(folder)
            if len(saved) == epoch:
                monkeypatch.setattr(loop, "save_state", whole)
                raise CutOff

        whole = loop.save_state
        monkeypatch.setattr(loop, "save_state", save_and_die)
        return pytest.raises(CutOff)

    return arrange


@pytest.fixture
def new_run(tmp_path):
    """A run's folder of a recipe."""

    def make(name, recipe):
        return Run(tmp_path / name, recipe)

    return make


@pytest.fixture
def each_step():
    """Collect something of the optimiser after each of its steps."""
    handles = []

    def collect(look):
        seen = []
        hook = register_optimizer_step_post_hook(lambda optimizer, *_: seen.append(look(optimizer)))
        handles.append(hook)
        return seen

    yield collect
    for handle in handles:
        handle.remove()
