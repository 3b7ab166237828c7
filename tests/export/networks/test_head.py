"""What a head reads: maps of one or two parts, averaged over the film, the lungs, or both."""

from __future__ import annotations

import pytest
import torch

from cxrexport.networks import Head, pool_maps

CHANNELS = (3, 5)
POOLINGS = ("average", "lung", "both")


def drawn(batch: int = 2) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Maps of two parts of a 128 px film, and lungs that fill some of it."""
    torch.manual_seed(0)
    lungs = torch.rand(batch, 1, 128, 128) * (torch.rand(batch, 1, 128, 128) > 0.5)
    lungs[:, :, :32] = 0
    return (torch.rand(batch, 3, 8, 8), torch.rand(batch, 5, 4, 4)), lungs


def head_on(maps: tuple[torch.Tensor, ...], pooling: str, *, standardised: bool = False) -> Head:
    torch.manual_seed(1)
    head = Head([each.shape[1] for each in maps], pooling, standardised=standardised)
    if standardised:
        head.mean.uniform_(-1, 1)
        head.scale.uniform_(0.5, 2)
    return head


def test_averages_and_lungs_come_map_by_map():
    maps, lungs = drawn()
    both = head_on(maps, "both").pool(maps, lungs)
    first, second = (head_on(maps, kind).pool(maps, lungs) for kind in ("average", "lung"))
    expected = torch.cat([first[:, :3], second[:, :3], first[:, 3:], second[:, 3:]], dim=1)
    torch.testing.assert_close(both, expected)
    torch.testing.assert_close(first[:, 3:], maps[1].mean(dim=(2, 3)))


def test_lung_pooling_is_the_mean_weighted_by_the_lungs_share_of_each_place():
    maps, lungs = drawn()
    pooled = head_on(maps, "lung").pool(maps, lungs)
    for columns, each, side in ((slice(0, 3), maps[0], 8), (slice(3, 8), maps[1], 4)):
        share = torch.nn.functional.adaptive_avg_pool2d(lungs, side)
        expected = (each * share).sum((2, 3)) / share.sum((2, 3))
        torch.testing.assert_close(pooled[:, columns], expected)


def test_what_lies_outside_the_lungs_does_not_count():
    maps, lungs = drawn()
    head = head_on(maps, "lung")
    before = head.pool(maps, lungs)
    maps[0][:, :, :2] = 1e6
    maps[1][:, :, :1] = 1e6
    assert torch.equal(head.pool(maps, lungs), before)


@pytest.mark.parametrize("level", [0.0, 1e-3])
def test_an_empty_map_gives_the_plain_average_and_its_neighbour_does_not_see_it(level):
    maps, lungs = drawn()
    alone = head_on(maps, "lung").pool(maps, lungs)
    lungs[0] = level
    pooled = head_on(maps, "lung").pool(maps, lungs)
    torch.testing.assert_close(pooled[0], head_on(maps, "average").pool(maps, lungs)[0])
    torch.testing.assert_close(pooled[1], alone[1])


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("standardised", [False, True])
def test_cam_and_gradient_equal_autograd(pooling, stages, standardised, empty):
    maps, lungs = drawn()
    if empty:
        lungs[0] = 0
    maps = maps[-stages:]
    head = head_on(maps, pooling, standardised=standardised)
    last = maps[-1]
    if not head(maps, lungs).cam.any(dim=2).any(dim=1).all():
        with torch.no_grad():
            head.fc3.weight.neg_()
    # What a plain mean over space takes in: the maps, and the maps weighed by the lungs' shares.
    cells = torch.nn.functional.adaptive_avg_pool2d(lungs, last.shape[-1])
    cells[lungs.amax(dim=(1, 2, 3)) == 0] = 1
    weighed = last * cells / cells.mean(dim=(2, 3), keepdim=True)
    entering = {"average": [last], "lung": [weighed], "both": [last, weighed]}[pooling]
    taken = torch.cat(entering, dim=1).requires_grad_()
    earlier = [pool_maps(maps[:-1], lungs, pooling)] if stages == 2 else []
    pooled = torch.cat([*earlier, taken.mean(dim=(2, 3))], dim=1)
    torch.testing.assert_close(pooled, head.pool(maps, lungs))
    pooled.retain_grad()
    classified = head.classify(pooled)
    classified.logits[:, 1].sum().backward()
    torch.testing.assert_close(classified.gradient, pooled.grad)
    expected = torch.relu((taken.grad.mean(dim=(2, 3), keepdim=True) * taken).sum(dim=1))
    assert expected.amax(dim=(1, 2)).min() > 0, "a map of zeros would prove nothing"
    torch.testing.assert_close(head(maps, lungs).cam, expected, rtol=1e-4, atol=1e-6)


def test_a_standardised_head_sees_shifted_and_scaled_features():
    maps, lungs = drawn()
    plain = head_on(maps, "both")
    asked = head_on(maps, "both", standardised=True)
    pooled = plain.pool(maps, lungs)
    expected = plain.classify((pooled - asked.mean) / asked.scale).logits
    torch.testing.assert_close(asked.classify(pooled).logits, expected)
    assert asked.state_dict().keys() - plain.state_dict().keys() == {"mean", "scale"}


def test_an_untouched_standardised_head_changes_nothing():
    maps, lungs = drawn()
    torch.manual_seed(1)
    untouched = Head(CHANNELS, "both", standardised=True)
    assert torch.equal(untouched(maps, lungs).logits, head_on(maps, "both")(maps, lungs).logits)
