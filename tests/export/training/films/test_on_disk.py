"""Films on disk: preprocessed once, and again only when something they depend on changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cxrexport.preprocessing import PreprocessingSpec, preprocess
from cxrexport.training.films.on_disk import mapped_films, mapped_lungs

SPEC = PreprocessingSpec(size_px=64)


@pytest.fixture
def decoded(monkeypatch):
    """Counts the films that are preprocessed."""
    import cxrexport.training.films.transforms as transforms

    counts = {"films": 0}
    real = transforms.preprocess

    def counted(*arguments):
        counts["films"] += 1
        return real(*arguments)

    monkeypatch.setattr(transforms, "preprocess", counted)
    return counts


def test_films_are_decoded_once(phantom_rows, tmp_path, decoded):
    rows = phantom_rows[:4]
    first, masks = mapped_films(rows, SPEC, tmp_path, masks=True)
    again, _ = mapped_films(rows, SPEC, tmp_path, masks=True)
    assert decoded["films"] == 4
    assert np.array_equal(first, again)
    assert set(np.unique(masks)) == {0, 255}


def test_a_cached_film_is_the_preprocessed_film(phantom_rows, tmp_path):
    films, _ = mapped_films(phantom_rows[:2], SPEC, tmp_path, masks=False)
    for film, row in zip(films, phantom_rows, strict=False):
        image = preprocess(row.image.read_bytes(), SPEC).image
        assert np.array_equal(film, np.rint(image * np.float32(255)).astype(np.uint8))


def test_another_preprocessing_makes_the_cache_anew(phantom_rows, tmp_path, decoded):
    mapped_films(phantom_rows[:2], SPEC, tmp_path, masks=False)
    films, _ = mapped_films(phantom_rows[:2], PreprocessingSpec(size_px=32), tmp_path, masks=False)
    assert decoded["films"] == 4
    assert films.shape == (2, 1, 32, 32)


def test_other_films_make_the_cache_anew(phantom_rows, tmp_path, decoded):
    mapped_films(phantom_rows[:2], SPEC, tmp_path, masks=False)
    mapped_films(phantom_rows[1:3], SPEC, tmp_path, masks=False)
    assert decoded["films"] == 4


def test_an_array_that_was_cut_off_is_made_anew(phantom_rows, tmp_path, decoded):
    mapped_films(phantom_rows[:2], SPEC, tmp_path, masks=False)
    (tmp_path / "films.npy").unlink()
    mapped_films(phantom_rows[:2], SPEC, tmp_path, masks=False)
    assert decoded["films"] == 4


def test_lungs_are_mapped_anew_for_other_weights_only(phantom_rows, tmp_path):
    films, _ = mapped_films(phantom_rows[:3], SPEC, tmp_path / "films", masks=False)
    calls = []

    def network(value):
        def judge(film):
            calls.append(len(film))
            return torch.full_like(film, value)

        return judge

    one = mapped_lungs(films, network(0.2), "a", tmp_path / "lungs", batch=2)
    assert (calls, np.unique(one).tolist()) == ([2, 1], [51])
    mapped_lungs(films, network(0.2), "a", tmp_path / "lungs", batch=2)
    assert len(calls) == 2
    other = mapped_lungs(films, network(0.4), "b", tmp_path / "lungs", batch=2)
    assert np.unique(other).tolist() == [102]
