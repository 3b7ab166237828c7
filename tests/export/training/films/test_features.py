"""Features of frozen parts: computed once, shared, and learnt from as if they had not been kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.manifest import FilmRow
from cxrexport.training.classify import start_backbone
from cxrexport.training.films import features as features_module
from cxrexport.training.films.features import (
    FEATURES,
    Frozen,
    cached_films,
    check_room,
    compute_features,
)
from cxrexport.training.films.in_memory import films_of_maps

SPLITS = ("train",) * 8 + ("validation",) * 4 + ("test",) * 2


@pytest.fixture
def learning(still):
    """A recipe that reads lungs and two stages, and flips films; its schedule as given."""

    def make(**schedule):
        flips = {**still().augmentation.model_dump(), "flip": 0.5}
        return still(schedule, input=None, pooling="both", stages=2, augmentation=flips)

    return make


@pytest.fixture
def films():
    """Films and lung maps of noise, brighter where positive."""

    def make(recipe, splits=SPLITS, seed=3):
        rng = np.random.default_rng(seed)
        shape = (len(splits), 1, 32, 32)
        maps, lungs = (rng.integers(0, 190, shape, dtype=np.uint8) for _ in range(2))
        maps[1::2] += 60
        rows = [
            FilmRow(
                image=Path(f"{i}.png"), patient_id=str(i), label=recipe.labels[i % 2], split=split
            )
            for i, split in enumerate(splits)
        ]
        return films_of_maps(rows, np.arange(len(rows)), maps, lungs, recipe)

    return make


@pytest.fixture
def weights(new_run, still, tmp_path):
    """Starting weights of a backbone, as a file."""

    def make(name):
        module = new_run(f"weights of {name}", still()).make(name)
        state = {k: v for k, v in module.state_dict().items() if not k.startswith("head.")}
        save_file(state, tmp_path / f"{name}.safetensors")
        return str(tmp_path / f"{name}.safetensors")

    return make


@pytest.fixture
def frozen(learning, new_run, weights):
    """A backbone all of whose parts, or some, are frozen."""

    def make(name="vgg16", parts=5):
        recipe = learning(frozen=parts)
        run = new_run(f"{name} {parts}", recipe)
        return Frozen.of(name, start_backbone(name, run, weights(name)))

    return make


@pytest.mark.parametrize(
    ("network", "parts", "rate", "tolerance"),
    [("resnet34", 5, 1e-3, 1e-4), ("vgg16", 5, 1e-3, 1e-4), ("vgg16", 4, 1e-4, 2e-3)],
)
def test_a_head_learns_from_cached_features_what_it_learns_from_films(
    network, parts, rate, tolerance, learning, films, weights, new_run, fit
):
    """The same films and flips in the same order; maps at a border are rounded to fp16."""
    source, ends = weights(network), []
    for name, cached in (("films", None), ("features", True)):
        recipe = learning(epochs=3, frozen=parts, cached=cached, learning_rate=rate)
        run = new_run(name, recipe)
        metrics = fit(network, run, films(recipe), pretrained=source)
        ends.append((run.folder(network).epochs(), run.load(network).state_dict(), metrics))
    (rows, ours, metrics), (cached_rows, theirs, cached_metrics) = ends
    assert len({round(row["train_loss"], 3) for row in rows}) == 3, "nothing was learnt"
    for key in ("train_loss", "loss", "roc_auc"):
        expected = [row[key] for row in rows]
        assert [row[key] for row in cached_rows] == pytest.approx(expected, abs=tolerance)
    assert cached_metrics["test"] == pytest.approx(metrics["test"], abs=tolerance)
    # Adam lets a weight step far whose gradient is next to nothing, so a few differ by more.
    assert all((theirs[key] - ours[key]).abs().double().mean() < tolerance for key in ours)


def computed(films, parts, folder, *lungs):
    """How many films' features were computed now."""
    count = []
    maps = films.train
    compute_features(
        maps.films, lungs or [maps.lungs], parts, folder, advance=lambda: count.append(1)
    )
    return len(count)


def test_features_are_computed_once_for_all_folds_and_reruns(learning, films, frozen, tmp_path):
    recipe, parts = learning(frozen=5), frozen()
    assert computed(films(recipe), parts, tmp_path) == len(SPLITS)
    assert computed(films(recipe, SPLITS[::-1]), parts, tmp_path) == 0
    assert len(list(tmp_path.glob("vgg16/*/*.npy"))) == len(SPLITS)


@pytest.mark.parametrize("what", ["films", "weights", "border"])
def test_what_comes_from_something_else_is_computed_anew(what, learning, films, frozen, tmp_path):
    recipe, parts = learning(frozen=5), frozen()
    before = cached_films(films(recipe), parts, tmp_path).train[0][FEATURES]
    if what == "weights":
        with torch.no_grad():
            parts.backbone.parts[4][0].weight[0] += 0.5
    if what == "border":
        parts = frozen(parts=3)
    others = films(recipe, seed=4 if what == "films" else 3)
    assert computed(others, parts, tmp_path) == len(SPLITS)
    after = cached_films(others, parts, tmp_path).train[0][FEATURES]
    assert after.shape != before.shape or not torch.equal(after, before)


@pytest.mark.parametrize("sees", [True, False])
def test_several_lung_maps_give_what_each_gives_alone(sees, learning, films, frozen, tmp_path):
    recipe, parts = learning(frozen=5), frozen()
    if not sees:
        with torch.no_grad():
            parts.backbone.parts[0][0].weight[:, 1] = 0
    assert parts.sees_lungs == sees
    some, others = films(recipe).train.lungs, films(recipe, seed=4).train.lungs
    together, apart = tmp_path / "together", tmp_path / "apart"
    assert computed(films(recipe), parts, together, some, others) == len(SPLITS)
    for lungs in (some, others):
        assert computed(films(recipe), parts, apart, lungs) == len(SPLITS)
    names = {path.relative_to(together) for path in together.rglob("*.npy")}
    assert len(names) == 2 * len(SPLITS)
    for name in names:
        np.testing.assert_allclose(np.load(together / name), np.load(apart / name), atol=1e-6)


def test_maps_of_parts_that_do_not_see_the_lungs_serve_all_lung_maps(
    learning, films, frozen, tmp_path
):
    recipe, parts = learning(frozen=4), frozen(parts=4)
    with torch.no_grad():
        parts.backbone.parts[0][0].weight[:, 1] = 0
    others = films(recipe, seed=4).train.lungs
    assert computed(films(recipe), parts, tmp_path) == len(SPLITS)
    assert computed(films(recipe), parts, tmp_path, others) == 0


def test_maps_that_fp16_cannot_hold_are_kept_whole(learning, films, frozen, tmp_path):
    parts = frozen(parts=4)
    with torch.no_grad():
        parts.backbone.parts[3][4].bias += 1e5
    item = cached_films(films(learning(frozen=4)), parts, tmp_path).validation[0]
    assert item[FEATURES].isfinite().all()
    assert item[FEATURES].max() > 65504


def test_a_damaged_feature_is_named(learning, films, frozen, tmp_path):
    cached = cached_films(films(learning(frozen=5)), frozen(), tmp_path)
    for path in tmp_path.glob("vgg16/*/*.npy"):
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match=r"\.npy is missing or damaged; delete it"):
        cached.train[0]


def test_features_beyond_the_bound_are_refused_before_any_is_computed(
    learning, films, frozen, tmp_path, monkeypatch
):
    monkeypatch.setattr(features_module, "MOST_BYTES", 1000)
    with pytest.raises(RecipeError, match="delete what is there, freeze more parts"):
        cached_films(films(learning(frozen=5)), frozen(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    check_room(tmp_path / "out", 1000)
