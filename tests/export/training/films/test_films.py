"""Films are decoded once, and are the same from memory as from the study's disk."""

from __future__ import annotations

import re
from unittest import mock

import numpy as np
import pytest
import torch

from cxrexport.training.films import transforms
from cxrexport.training.films.in_memory import cache_films, films_of_maps
from cxrexport.training.films.on_disk import mapped_films
from cxrexport.training.recipe import Recipe

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def recipe(tiny):
    return Recipe(**tiny())


def test_films_from_memory_equal_films_from_disk(recipe, phantom_rows, quiet, tmp_path):
    """Two implementations of the way from a file to an item; the same draws augment alike."""
    memory = cache_films(phantom_rows, recipe, quiet, masks=True)
    maps, masks = mapped_films(phantom_rows, recipe.spec, tmp_path, masks=True)
    disk = films_of_maps(phantom_rows, np.arange(len(phantom_rows)), maps, masks, recipe)
    for split in SPLITS:
        ours, theirs = getattr(memory, split), getattr(disk, split)
        assert len(ours) == len(theirs) > 0
        for films in (ours, theirs):
            films.reseed(5)
        for a, b in zip(ours, theirs, strict=True):
            assert a["label"] == b["label"]
            assert torch.equal(a["film"], b["film"])
            assert torch.equal(a["lungs"], b["lungs"])


def test_a_film_keeps_its_label_and_its_map_whatever_the_order(recipe, phantom_rows):
    """Rows and maps in opposite orders: `positions` says which map is whose."""
    count = len(phantom_rows)
    maps = np.zeros((count, 1, 32, 32), np.uint8)
    maps += np.arange(count, dtype=np.uint8)[::-1].reshape(-1, 1, 1, 1)
    films = films_of_maps(phantom_rows, np.arange(count)[::-1], maps, maps, recipe)
    expected = [
        (i / 255, recipe.labels.index(row.label))
        for i, row in enumerate(phantom_rows)
        if row.split == "validation"
    ]
    seen = [(float(item["film"][0, 0, 0]), item["label"]) for item in films.validation]
    assert seen == [(pytest.approx(value), label) for value, label in expected]


def test_a_second_epoch_decodes_nothing(
    phantom_manifest, phantom_rows, recipe_file, train, tmp_path
):
    path = recipe_file(input="film", classify={"epochs": 2})
    with mock.patch.object(transforms, "preprocess", wraps=transforms.preprocess) as preprocess:
        result = train("vgg16", phantom_manifest, tmp_path / "run", path)
    assert result.exit_code == 0, result.output
    assert preprocess.call_count == len(phantom_rows)


def test_the_cost_of_films_and_epochs_is_said(phantom_manifest, recipe_file, train, tmp_path):
    path = recipe_file(input="film", classify={"epochs": 1})
    result = train("vgg16", phantom_manifest, tmp_path / "run", path)
    number = r"\d+\.\d"
    assert re.search(
        rf"Preprocessed 24 films at 32 px in {number} s, {number} ms a film", result.words
    )
    assert re.search(rf"vgg16 1/1: {number} s, {number} ms a film", result.words)
