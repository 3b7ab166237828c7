"""Networks judged by features that are kept: what they say of films, and what is computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cxrexport.ensemble import TorchGraphs
from cxrexport.networks import make_backbone
from cxrexport.study.by_features import FeatureGraphs
from cxrexport.study.plan import Plan
from cxrexport.training.films import Frozen, compute_features
from cxrexport.training.recipe import load_recipe

SIZE_PX = 64


@pytest.fixture
def judged(tmp_path):
    """A network of some frozen parts by its graph and by features, and the folder of these."""

    def make(pooling="lung", frozen=5):
        recipe = load_recipe("tb-skill")
        classify = recipe.classify.model_copy(update={"frozen": frozen})
        recipe = recipe.model_copy(
            update={"pooling": pooling, "width": 0.125, "classify": classify, "overrides": {}}
        )
        plan = Plan(tmp_path, recipe, ())
        torch.manual_seed(3)
        module = make_backbone("vgg16", **recipe.design_of("vgg16")).eval()
        module.head.scale.uniform_(0.5, 2.0)
        modules = {"vgg16": module}
        return TorchGraphs(modules), FeatureGraphs(modules, plan), plan.features_folder, module

    return make


def drawn(count=3):
    generator = np.random.default_rng(5)
    levels = generator.integers(0, 256, (2, count, 1, SIZE_PX, SIZE_PX), dtype=np.uint8)
    levels[1, :, :, :16] = 0
    return {"CXR": levels[0].astype(np.float32) / 255, "LUNGS": levels[1].astype(np.float32) / 255}


@pytest.mark.parametrize(
    ("pooling", "frozen"), [("average", 5), ("lung", 5), ("both", 5), ("lung", 4)]
)
def test_networks_say_by_features_what_they_say_of_the_film(judged, pooling, frozen):
    graphs, quick, _, _ = judged(pooling, frozen)
    expected, inputs = graphs.run("vgg16", drawn()), drawn()
    for _ in range(2):  # computed, and kept
        said = quick.run("vgg16", inputs)
        for name in ("LOGITS", "EMBEDDING"):
            scale = np.abs(expected[name]).max()
            # Maps at a border are kept in fp16 by the training, but not here.
            np.testing.assert_allclose(said[name], expected[name], atol=2e-3 * scale)


def test_features_that_a_training_kept_are_taken_and_others_are_kept_beside(judged, monkeypatch):
    _, quick, folder, module = judged()
    inputs = drawn()
    films, lungs = ((255 * inputs[name]).round().astype(np.uint8) for name in ("CXR", "LUNGS"))
    compute_features(films[:2], [lungs[:2]], Frozen.of("vgg16", module), folder)
    first = quick.run("vgg16", inputs)
    assert sorted(len(list(each.glob("*.npy"))) for each in (folder / "vgg16").iterdir()) == [1, 2]

    def computed(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(Frozen, "__call__", computed)
    again = quick.run("vgg16", inputs)
    np.testing.assert_array_equal(again["LOGITS"], first["LOGITS"])


def test_a_head_that_reads_lungs_alone_shares_features_with_one_that_reads_both(judged):
    _, quick, folder, _ = judged("lung")
    quick.run("vgg16", drawn())
    (place,) = (folder / "vgg16").iterdir()
    times = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    _, other, _, _ = judged("both")
    other.run("vgg16", drawn())
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == times
