"""Films with a part blanked out, and the heatmap's share inside the lungs."""

from __future__ import annotations

import pytest
import torch

from cxrexport.evaluation.blanking import (
    INTERVENTIONS,
    heat_in_lungs,
    lung_share,
    no_lungs,
    only_border,
    only_lungs,
)

SIDE = 100
REACH = 3  # 3 % of 100


def chest() -> tuple[torch.Tensor, torch.Tensor]:
    """Two films, grey 0.2 with lungs of 0.8; the second one's lungs lie elsewhere."""
    lungs = torch.zeros(2, 1, SIDE, SIDE)
    lungs[0, :, 30:60, 20:40] = 0.9
    lungs[1, :, 50:80, 60:70] = 0.5  # the threshold itself is lung
    lungs[:, :, 5:8, 5:8] = 0.49  # not lung
    return torch.where(lungs >= 0.5, 0.8, 0.2), lungs


def test_no_lungs_fills_the_lungs_and_a_rim_of_three_per_cent_with_the_mean_of_the_rest() -> None:
    film, lungs = chest()
    film[0, 0, :10] = 0.6  # a tenth of the film, none of it lung
    blanked, _ = no_lungs(film, lungs)
    hidden = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    hidden[30 - REACH : 60 + REACH, 20 - REACH : 40 + REACH] = True
    rest = film[0, 0][~hidden]
    expected = (1000 * 0.6 + (len(rest) - 1000) * 0.2) / len(rest)
    assert blanked[0, 0][hidden].unique().item() == pytest.approx(expected)
    assert torch.equal(blanked[0, 0][~hidden], rest)


def test_only_lungs_keeps_them_with_their_rim_and_fills_the_rest_with_their_mean() -> None:
    film, lungs = chest()
    blanked, _ = only_lungs(film, lungs)
    kept = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    kept[50 - REACH : 80 + REACH, 60 - REACH : 70 + REACH] = True
    assert torch.equal(blanked[1, 0][kept], film[1, 0][kept])
    lung, area = 30 * 10, 36 * 16
    expected = (lung * 0.8 + (area - lung) * 0.2) / area
    assert blanked[1, 0][~kept].unique().item() == pytest.approx(expected)


def test_only_border_keeps_a_frame_of_a_tenth_and_nothing_of_what_is_inside() -> None:
    film, lungs = chest()
    other = film.clone()
    other[:, :, 10:90, 10:90] = 1.0
    blanked, _ = only_border(film, lungs)
    assert torch.equal(blanked, only_border(other, lungs)[0])
    assert torch.equal(blanked[:, :, :10], film[:, :, :10])
    assert torch.equal(blanked[:, :, :, 90:], film[:, :, :, 90:])


def test_grey_that_fills_comes_from_the_kept_part_alone() -> None:
    film, lungs = chest()
    brighter_lungs = torch.where(lungs >= 0.5, 1.0, film)
    assert torch.equal(no_lungs(film, lungs)[0], no_lungs(brighter_lungs, lungs)[0])
    brighter_body = film.clone()
    brighter_body[:, :, 95:] = 1.0  # far from the lungs
    assert torch.equal(only_lungs(film, lungs)[0], only_lungs(brighter_body, lungs)[0])


def test_lung_channel_is_zero_unless_the_lungs_are_what_is_kept() -> None:
    film, lungs = chest()
    after = {name: blank(film, lungs)[1] for name, blank in INTERVENTIONS.items()}
    assert not after["no_lungs"].any()
    assert not after["only_border"].any()
    assert torch.equal(after["only_lungs"], lungs)


@pytest.mark.parametrize("name", ["no_lungs", "only_border"])
def test_with_the_map_kept_the_film_is_blanked_the_same_and_the_map_is_the_true_one(name) -> None:
    film, lungs = chest()
    blanked, kept = INTERVENTIONS[f"{name}_map_kept"](film, lungs)
    assert torch.equal(blanked, INTERVENTIONS[name](film, lungs)[0])
    assert torch.equal(kept, lungs)


def test_without_lungs_no_lungs_changes_nothing_and_only_lungs_leaves_an_even_grey() -> None:
    film, _ = chest()
    empty = torch.zeros_like(film)
    assert torch.equal(no_lungs(film, empty)[0], film)
    assert only_lungs(film, empty)[0].unique().item() == 0.5


def test_lungs_all_over_the_film_leave_an_even_grey_without_them() -> None:
    film, _ = chest()
    assert no_lungs(film, torch.ones_like(film))[0].unique().item() == 0.5


@pytest.mark.parametrize("name", sorted(INTERVENTIONS))
def test_films_of_a_batch_do_not_touch_one_another_nor_the_arguments(name: str) -> None:
    film, lungs = chest()
    before = film.clone(), lungs.clone()
    together = INTERVENTIONS[name](film, lungs)
    alone = INTERVENTIONS[name](film[1:], lungs[1:])
    assert torch.equal(together[0][1:], alone[0])
    assert torch.equal(film, before[0])
    assert torch.equal(lungs, before[1])


def test_lung_share_counts_pixels_from_one_half() -> None:
    assert lung_share(chest()[1]).tolist() == [0.06, 0.03]


def test_even_heat_has_the_lungs_share_of_the_film() -> None:
    _, lungs = chest()
    even = torch.full((2, 4, 4), 0.3)
    assert heat_in_lungs(even, lungs).tolist() == pytest.approx([0.06, 0.03])


def test_heat_of_one_quarter_is_shared_by_the_lungs_that_reach_into_it() -> None:
    # The left half of the film is lung. Of a 1×2 map (1, 0) stretched over 100 columns, column c is
    # 1 up to column 24, falls by 1/50 a column to 0 at 75: the ramp's upper half lies left.
    lungs = torch.zeros(1, 1, SIDE, SIDE)
    lungs[..., :50] = 1
    columns = torch.arange(SIDE, dtype=torch.float64)
    ramp = ((75 - columns - 0.5) / 50).clamp(0, 1)
    expected = float(ramp[:50].sum() / ramp.sum())
    assert heat_in_lungs(torch.tensor([[[1.0, 0.0]]]), lungs).item() == pytest.approx(expected)
    assert expected == pytest.approx(0.875)


def test_empty_heatmap_has_no_share() -> None:
    _, lungs = chest()
    assert heat_in_lungs(torch.zeros(2, 4, 4), lungs).isnan().all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    film, lungs = chest()
    with pytest.raises(ValueError, match="must both be"):
        no_lungs(film, lungs[:, :, :50])
    with pytest.raises(ValueError, match="2 heatmaps for 1"):
        heat_in_lungs(torch.zeros(2, 4, 4), lungs[:1])
    with pytest.raises(ValueError, match="heatmap must be"):
        heat_in_lungs(torch.zeros(2, 1, 4, 4), lungs)
