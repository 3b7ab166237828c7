"""Of a lung map clients get the two largest parts, so that masks, contours and areas agree."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cxrclient.films import LUNG_PROBABILITY, lung_fraction
from cxrclient.pages.render import contour, lung_mask
from cxrexport.admission import two_largest_kept
from cxrexport.admission.chest import look
from cxrexport.admission.features import reduced

SIZE = 96
GEOMETRY = np.array([SIZE, SIZE, 1, 0, 0, 0, 1, 0], np.float32)
LEFT, RIGHT = np.s_[10:80, 52:84], np.s_[20:80, 10:40]
FRAGMENTS = (np.s_[2:8, 2:12], np.s_[90:91, 90:91], np.s_[86:94, 40:60])


def map_of(*parts: tuple[slice, slice]) -> np.ndarray:
    lungs = np.full((SIZE, SIZE), 0.2, np.float32)
    for part in parts:
        lungs[part] = 0.9
    return lungs


def test_what_is_neither_of_the_two_largest_parts_becomes_zero_and_all_else_stays() -> None:
    two, whole = map_of(LEFT, RIGHT), map_of(LEFT, RIGHT, *FRAGMENTS)
    before = whole.copy()
    kept = two_largest_kept(whole)
    np.testing.assert_array_equal(whole, before)  # another step may read it
    for part in FRAGMENTS:
        assert (kept[part] == 0).all()
        two[part] = 0
    np.testing.assert_array_equal(kept, two)


@pytest.mark.parametrize("parts", [(), (LEFT,), (LEFT, RIGHT)], ids=["none", "one", "two"])
def test_a_map_of_two_parts_at_most_is_handed_on_as_it_is(parts) -> None:
    lungs = map_of(*parts)
    assert two_largest_kept(lungs) is lungs


def test_parts_that_touch_at_a_corner_are_one_and_a_hole_makes_no_part_smaller() -> None:
    corner = np.s_[80:84, 84:88]  # of LEFT
    lungs = map_of(LEFT, corner, RIGHT)
    assert two_largest_kept(lungs) is lungs
    ring, disc = map_of(), np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(ring, (30, 50), 25, 0.9, 1)  # fewer pixels than the others, and a larger part
    cv2.circle(disc, (30, 50), 25, 1, 1)
    kept = two_largest_kept(np.maximum(ring, map_of(np.s_[10:30, 60:80], np.s_[60:75, 60:75])))
    assert (kept[disc > 0] >= LUNG_PROBABILITY).all()
    assert (kept[60:75, 60:75] == 0).all()


def test_at_random_it_keeps_what_counting_pixel_by_pixel_keeps() -> None:
    generator = np.random.default_rng(5)
    for _ in range(20):
        lungs = cv2.GaussianBlur(generator.random((SIZE, SIZE), np.float32), (0, 0), 4)
        lungs = np.clip((lungs - 0.5) * 10 + 0.45, 0, 1)
        solid = lungs >= LUNG_PROBABILITY
        outside = cv2.connectedComponents((~np.pad(solid, 1)).astype(np.uint8), connectivity=4)[1]
        solid = (outside != outside[0, 0])[1:-1, 1:-1]  # with its holes
        _, labels, stats, _ = cv2.connectedComponentsWithStats(solid.astype(np.uint8))
        largest = np.argsort(stats[1:, cv2.CC_STAT_AREA])[-2:] + 1
        expected = np.where(~solid | np.isin(labels, largest), lungs, 0)
        np.testing.assert_array_equal(two_largest_kept(lungs), expected)


def test_masks_contours_and_areas_on_the_film_are_of_the_same_two_lungs() -> None:
    kept = two_largest_kept(map_of(LEFT, RIGHT, *FRAGMENTS))
    mask = lung_mask(kept, GEOMETRY, SIZE)
    assert cv2.connectedComponents(mask.astype(np.uint8))[0] - 1 == 2
    assert cv2.connectedComponents(contour(mask).astype(np.uint8))[0] - 1 == 2
    area = (70 * 32 + 60 * 30) / SIZE**2
    assert lung_fraction(kept, GEOMETRY) == pytest.approx(area, abs=1e-6)


def test_the_gates_area_is_that_of_two_lungs() -> None:
    film = np.random.default_rng(0).random((256, 256), np.float32)
    lungs = np.zeros((256, 256), np.float32)
    lungs[40:200, 40:80] = lungs[40:200, 160:200] = 1
    two = look(reduced(film, lungs)).lungs
    lungs[220:252, 100:140] = 1
    assert (
        look(reduced(film, lungs)).lungs
        == pytest.approx(two)
        == pytest.approx(2 * 160 * 40 / 256**2)
    )
