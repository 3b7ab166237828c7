"""Lung masks: overlap and distance of the boundary."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from cxrexport.evaluation.lungs import FilmLungs, compare_masks, lung_figures

Mask = npt.NDArray[np.bool_]


def square(top: int, left: int, side: int, shape: tuple[int, int] = (30, 40)) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def compared(predicted: Mask, truth: Mask) -> FilmLungs:
    return compare_masks(predicted, truth, row=2, source="north", patient="p")


def film(row: int, dice: float, *, source: str | None = "north", patient: str = "") -> FilmLungs:
    return FilmLungs(row, source, patient or f"p{row}", dice, 100 * (1 - dice))


def brute_force_hausdorff95(a: Mask, b: Mask) -> float:
    """Every boundary pixel against every other, without a distance transform."""
    rims = [np.argwhere(mask & ~binary_erosion(mask)) for mask in (a, b)]
    between = cdist(*rims)
    return float(max(np.percentile(between.min(axis=k), 95) for k in (0, 1)))


def test_dice_is_twice_the_overlap_over_the_sum_of_the_areas() -> None:
    # 10×10 and 10×10, 4 columns apart: 60 pixels in common.
    assert compared(square(5, 5, 10), square(5, 9, 10)).dice == pytest.approx(2 * 60 / 200)


def test_distance_is_in_per_cent_of_the_films_diagonal() -> None:
    # Single pixels 5 apart on a film of 30×40, whose diagonal is 50: 10 %.
    assert compared(square(3, 4, 1), square(6, 8, 1)).hausdorff95 == pytest.approx(10.0)


def test_distance_agrees_with_every_boundary_pixel_against_every_other() -> None:
    random = np.random.default_rng(0)
    blobs = [square(*random.integers(2, 12, 2), 12) | square(15, 25, 9) for _ in range(5)]
    blobs[0][2, 38] = True  # a speck far away: the percentile forgives it, the maximum would not
    for ours, theirs in itertools.pairwise(blobs):
        expected = 100 * brute_force_hausdorff95(ours, theirs) / 50
        assert compared(ours, theirs).hausdorff95 == pytest.approx(expected, abs=1e-5)


def test_two_empty_masks_agree() -> None:
    empty = np.zeros((30, 40), dtype=bool)
    found = compared(empty, empty)
    assert (found.dice, found.hausdorff95) == (1.0, 0.0)


@pytest.mark.parametrize("missed", [True, False])
def test_one_empty_mask_is_as_wrong_as_can_be(missed: bool) -> None:
    masks = [np.zeros((30, 40), dtype=bool), square(5, 5, 10)]
    found = compared(*(masks if missed else masks[::-1]))
    assert (found.dice, found.hausdorff95) == (0.0, 100.0)


def test_masks_of_different_sizes_and_of_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(30, 40\) and \(40, 30\)"):
        compared(square(0, 0, 5), square(0, 0, 5, (40, 30)))
    with pytest.raises(ValueError, match="float64"):
        compared(square(0, 0, 5).astype(float), square(0, 0, 5))  # type: ignore[arg-type]


def test_means_are_given_in_all_and_by_source_in_the_order_of_names() -> None:
    films = [film(2, 0.9, source="west"), film(3, 0.7, source="east"), film(4, 0.5, source=None)]
    figures = lung_figures(films)
    assert figures.all is not None
    assert figures.all.dice.value == pytest.approx(0.7)
    assert figures.all.hausdorff95.value == pytest.approx(30)
    assert [(g.source, g.films, g.dice.value) for g in figures.by_source] == [
        ("east", 1, 0.7),
        ("not stated", 1, 0.5),
        ("west", 1, 0.9),
    ]


def test_median_is_not_moved_by_one_film_that_fails() -> None:
    group = lung_figures([film(i, dice) for i, dice in enumerate((0.9, 0.0, 0.96))]).all
    assert group is not None
    assert (group.dice_median, group.dice.value) == (0.9, pytest.approx(0.62))


def test_worst_films_are_listed_by_row_lowest_dice_first_and_never_by_patient() -> None:
    films = [film(9, 0.8, patient="anna"), film(4, 0.1, patient="ben"), film(7, 0.5, patient="cy")]
    figures = lung_figures(films, worst=2)
    assert [(w.row, w.dice) for w in figures.worst] == [(4, 0.1), (7, 0.5)]
    assert not any(name in repr(figures) for name in ("anna", "ben", "cy"))


def test_interval_resamples_patients_so_copies_of_a_film_do_not_narrow_it() -> None:
    once = [film(i, dice) for i, dice in enumerate((0.2, 0.4, 0.6, 0.8, 1.0))]
    often = [film(10 * f.row + k, f.dice, patient=f.patient) for f in once for k in range(20)]

    def width(films: list[FilmLungs]) -> float:
        dice = lung_figures(films, bootstrap=500).by_source[0].dice
        assert dice.low is not None
        assert dice.high is not None
        return dice.high - dice.low

    assert width(often) == pytest.approx(width(once), rel=0.1)


def test_order_of_the_films_does_not_matter() -> None:
    films = [film(i, dice, patient=f"p{i % 3}") for i, dice in enumerate((0.2, 0.4, 0.6, 0.8))]
    assert lung_figures(films) == lung_figures(films[::-1])


def test_no_film_gives_no_figures() -> None:
    assert lung_figures([]).all is None
