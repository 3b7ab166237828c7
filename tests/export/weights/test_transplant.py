"""A ResNet34 learns a ResNet50's features block by block, with no label."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cxrexport.networks import Layout, make_backbone
from cxrexport.weights.published import pairs, set_pair
from cxrexport.weights.transplant import transplant

STEM = 16


@pytest.fixture(scope="module")
def teacher():
    """An eighth of the width, random; its norms only add, as in the published one."""
    torch.manual_seed(2)
    layout = Layout(stem=STEM, stride="first", pool="end")
    net = make_backbone("resnet50", 0.125, layout=layout).eval()
    for convolution, norm in pairs(net):
        weight = torch.randn_like(convolution.weight) / convolution.weight[0].numel() ** 0.5
        set_pair(convolution, norm, weight, torch.randn(len(weight)) / 10)
    return net


def films(count, seed):
    """Smooth noise: neighbouring pixels say something of each other, as in films."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 24, 24, generator=generator)
    film = nn.functional.interpolate(coarse, size=96, mode="bicubic").clamp(0, 1)
    return make_backbone("vgg16", 0.125).enter(film, torch.zeros_like(film))


def pooled(net, seen):
    with torch.no_grad():
        return net.extract(seen)[-1].mean((2, 3))


def explained(wanted, given):
    """Share of the variance of each wanted channel that its best partner among the given has."""
    wanted, given = wanted - wanted.mean(0), given - given.mean(0)
    norms = wanted.norm(dim=0)[:, None] * given.norm(dim=0)[None]
    return float((wanted.T @ given / norms.clamp_min(1e-9)).square().amax(0).mean())


def test_its_features_are_the_teachers_on_films_that_it_was_not_fitted_to(teacher):
    said = []
    student, fitted = transplant(teacher, films(40, 0), width=0.25, say=said.append)
    assert said == fitted
    assert [each.block for each in fitted[:4]] == ["layer1.0", "layer1.1", "layer1.2", "layer2.0"]
    assert len(fitted) == 16
    assert min(each.r2 for each in fitted) > 0.3
    new = films(60, 1)
    torch.manual_seed(3)
    fresh = make_backbone("resnet34", 0.25).eval()
    theirs = pooled(teacher, new)
    assert explained(theirs, pooled(student, new)) > explained(theirs, pooled(fresh, new)) + 0.2


def test_its_stem_is_the_teachers_and_its_pool_is_padded_alike(teacher):
    student, _ = transplant(teacher, films(6, 0), width=0.25)
    new = films(2, 1)
    with torch.no_grad():
        assert torch.equal(student.through(new, 0, 1), teacher.through(new, 0, 1))
    assert student.design.layout == Layout(pool="end")
