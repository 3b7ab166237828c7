"""Augmentation moves film and lung map alike, and changes brightness of the film only."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from monai.data import set_track_meta

from cxrclient.errors import NotReadable
from cxrexport.errors import CxrExportError
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.training.films.in_memory import films_of_maps
from cxrexport.training.films.transforms import (
    FILM,
    LUNGS,
    LungMapd,
    PreprocessFilmd,
    ToUnitRanged,
    augmentations,
)
from cxrexport.training.recipe import Augmentation, Recipe

OFF = dict.fromkeys(
    ("brighten", "gamma", "clahe", "rotate", "shear", "scale", "flip", "sharpen_or_blur"), 0.0
)
GEOMETRIC = ("rotate", "shear", "scale", "flip")
INTENSITY = ("brighten", "gamma", "clahe", "sharpen_or_blur")


@pytest.fixture(autouse=True)
def _plain_tensors():
    set_track_meta(False)


def sample(size_px: int = 64) -> dict[str, torch.Tensor]:
    """A film that is its own lung map: a bright block left of the middle, high up."""
    block = torch.zeros(1, size_px, size_px)
    block[:, 12:28, 10:24] = 0.8
    return {FILM: block.clone(), LUNGS: block.clone()}


def augment(seed: int, **probabilities: float) -> dict[str, torch.Tensor]:
    transform = augmentations(Augmentation(**{**OFF, **probabilities}), clahe_tiles=8)
    transform.set_random_state(seed=seed)
    return transform(sample())


@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometry_moves_film_and_lungs_alike(name):
    out = augment(1, **{name: 1.0})
    torch.testing.assert_close(out[FILM], out[LUNGS])
    assert not torch.equal(out[FILM], sample()[FILM]), "the augmentation did nothing"


@pytest.mark.parametrize("name", INTENSITY)
def test_intensity_leaves_the_lung_map_alone(name):
    out = augment(2, **{name: 1.0})
    torch.testing.assert_close(out[LUNGS], sample()[LUNGS])
    assert not torch.equal(out[FILM], sample()[FILM]), "the augmentation did nothing"


def test_no_probability_no_change():
    out = augment(3)
    torch.testing.assert_close(out[FILM], sample()[FILM])


def test_flip_is_left_to_right_and_never_vertical():
    out = augment(0, flip=1.0)
    torch.testing.assert_close(out[FILM], sample()[FILM].flip(2))


def test_everything_at_once_stays_in_range_and_keeps_shape_and_type():
    for seed in range(20):
        out = augment(seed, **dict.fromkeys(OFF, 1.0))
        for key in (FILM, LUNGS):
            assert out[key].shape == (1, 64, 64)
            assert out[key].dtype == torch.float32
            assert out[key].min() >= 0
            assert out[key].max() <= 1


def test_sharpening_is_as_strong_as_the_recipe_says():
    """A step's overshoot is proportional to the strength, at the same seeds."""
    step = {FILM: torch.full((1, 64, 64), 0.45), LUNGS: torch.zeros(1, 64, 64)}
    step[FILM][..., 32:] = 0.55

    def overshoots(strength):
        settings = Augmentation(**{**OFF, "sharpen_or_blur": 1.0}, sharpen_by=(strength, strength))
        transform = augmentations(settings, clahe_tiles=8)
        found = []
        for seed in range(8):
            transform.set_random_state(seed=seed)
            found.append(float(transform({k: v.clone() for k, v in step.items()})[FILM].max()))
        return np.clip(np.array(found) - 0.55, 0, None)

    weak, strong = overshoots(0.5), overshoots(1.0)
    assert 0 < (weak > 1e-4).sum() < 8, "some seeds sharpen, the others blur"
    np.testing.assert_array_equal(weak > 1e-4, strong > 1e-4)
    assert (strong[strong > 1e-4] > weak[strong > 1e-4]).all()


def test_a_film_is_masked_to_the_lungs_as_they_were_moved():
    out = augment(0, flip=1.0, mask_to_lungs=1.0)
    torch.testing.assert_close(out[FILM], sample()[FILM].flip(2) ** 2)
    torch.testing.assert_close(out[LUNGS], sample()[LUNGS].flip(2))


def test_so_many_films_are_masked_as_the_recipe_says():
    masked = [
        not torch.equal(augment(s, mask_to_lungs=0.25)[FILM], sample()[FILM]) for s in range(80)
    ]
    assert 8 < sum(masked) < 35


def test_a_film_without_lungs_is_not_masked():
    transform = augmentations(Augmentation(**OFF, mask_to_lungs=1.0), clahe_tiles=8)
    film = sample()[FILM]
    out = transform({FILM: film.clone(), LUNGS: torch.zeros_like(film)})
    assert torch.equal(out[FILM], film)


@pytest.mark.parametrize("masks", [False, True])
def test_no_film_is_masked_by_the_lungs_that_are_to_be_found(phantom_rows, tiny, masks):
    recipe = Recipe(**tiny(augmentation={**OFF, "mask_to_lungs": 1.0}))
    film = np.full((1, 1, 32, 32), 100, np.uint8)
    lungs = np.where(np.arange(32) < 16, 255, 0).astype(np.uint8) * np.ones_like(film)
    rows = [replace(phantom_rows[0], split="train")]
    (item,) = films_of_maps(rows, np.arange(1), film, lungs, recipe, masks=masks).train
    assert bool(item[FILM].min() == 0) is not masks


def test_a_seed_gives_the_same_film_again():
    defaults = augmentations(Augmentation(), clahe_tiles=8)
    films = []
    for _ in range(2):
        defaults.set_random_state(seed=7)
        films.append([defaults(sample())[FILM] for _ in range(8)])
    assert all(torch.equal(a, b) for a, b in zip(*films, strict=True))
    assert len({film.numpy().tobytes() for film in films[0]}) > 1


def test_rotation_stays_within_seven_degrees():
    """The block's centre moves by no more than its distance from the middle times sin 7°."""
    rows, columns = np.mgrid[:64, :64]

    def centre(film):
        weight = film[0].numpy() / film.sum().item()
        return np.array([(rows * weight).sum(), (columns * weight).sum()])

    start = centre(sample()[FILM])
    reach = np.linalg.norm(start - 31.5) * 2 * np.sin(np.radians(7) / 2) + 0.5
    moved = [np.linalg.norm(centre(augment(s, rotate=1.0)[FILM]) - start) for s in range(30)]
    assert max(moved) <= reach
    assert max(moved) > reach / 2


def test_a_film_and_its_mask_reach_the_network_together(phantom_rows):
    row = next(row for row in phantom_rows if row.mask)
    transform = PreprocessFilmd(PreprocessingSpec(size_px=128))
    out = ToUnitRanged()(transform({FILM: str(row.image), "mask": str(row.mask)}))
    assert out[FILM].shape == out[LUNGS].shape == (1, 128, 128)
    lungs = out[LUNGS][0] > 0.5
    assert 0.05 < lungs.float().mean() < 0.7
    # Lungs are darker than the soft tissue between and beside them.
    assert out[FILM][0][lungs].mean() < out[FILM][0][~lungs & (out[FILM][0] > 0)].mean()


def test_a_mask_of_another_size_is_refused(phantom_rows, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((10, 10), np.uint8))
    transform = PreprocessFilmd(PreprocessingSpec(size_px=64))
    with pytest.raises(CxrExportError, match=r"film's size"):
        transform({FILM: str(phantom_rows[0].image), "mask": str(tmp_path / "mask.png")})


def test_an_unreadable_film_is_named(tmp_path):
    (tmp_path / "broken.dcm").write_bytes(b"no film")
    with pytest.raises(NotReadable, match=r"broken\.dcm"):
        PreprocessFilmd(PreprocessingSpec(size_px=64))({FILM: str(tmp_path / "broken.dcm")})


def test_lung_map_is_taken_from_the_film():
    film = (sample()[FILM] * 255).to(torch.uint8)
    out = LungMapd(lambda unit: 1 - unit)({FILM: film})
    assert out[LUNGS].dtype == torch.uint8
    assert torch.equal(out[LUNGS], 255 - film)


@pytest.mark.parametrize("tiles", [2, 8])
def test_clahe_equalises_in_the_tiles_of_the_preprocessing(phantom_rows, tiny, tiles):
    recipe = Recipe(
        **tiny(
            preprocessing={"size_px": 32, "clahe_tiles": tiles},
            augmentation={**OFF, "clahe": 1.0, "clahe_clip_range": (2.0, 2.0)},
        )
    )
    film = np.random.default_rng(1).integers(0, 255, (1, 1, 32, 32), np.uint8)
    rows = [replace(phantom_rows[0], split="train")]
    (item,) = films_of_maps(rows, np.arange(1), film, None, recipe).train
    expected = cv2.createCLAHE(2.0, (tiles, tiles)).apply(film[0, 0])
    np.testing.assert_array_equal(np.rint(item[FILM][0] * 255), expected)
