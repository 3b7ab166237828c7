"""A network is laid out as its weights learnt, and is run part by part."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cxrexport.networks import ARCHITECTURES, Backbone, Layout, make_backbone

YAHOO = Layout(stem=16, stride="first", pool="end")


def drawn(name: str, **design: object) -> Backbone:
    torch.manual_seed(0)
    return make_backbone(name, 0.125, **design).eval()


def test_metadata_keep_a_layout_and_leave_torchvisions_out():
    assert Layout().metadata == {}
    assert Layout.from_metadata({"other": "1"}) == Layout()
    assert YAHOO.to_dict() == {"stem": 16, "stride": "first", "pool": "end"}
    assert Layout(pool="end").to_dict() == {"pool": "end"}
    assert Layout.from_metadata({**YAHOO.metadata, "other": "1"}) == YAHOO


NO_LAYOUTS = ('{"stride": "third"}', '{"pool": "start"}', '{"stem": 0}', '{"stem": "64"}')


@pytest.mark.parametrize("text", [*NO_LAYOUTS, '{"x": 1}', '["stem"]', "{", "1"])
def test_what_is_no_layout_is_refused(text):
    with pytest.raises(ValueError, match="layout"):
        Layout.from_metadata({"layout": text})


@pytest.mark.parametrize("name", ["vgg16", "densenet121"])
def test_only_resnets_have_layouts(name):
    with pytest.raises(ValueError, match="one layout only"):
        drawn(name, layout=Layout(stride="first"))


@pytest.mark.parametrize("option", [{"pooling": "max"}, {"stages": 3}, {"stages": 0}])
def test_options_that_do_not_exist_are_refused(option):
    with pytest.raises(ValueError, match=r"pooling is|1 or 2 stages"):
        drawn("vgg16", **option)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parts_halve_the_film_to_a_sixteenth_and_a_thirty_second(name):
    backbone = drawn(name, stages=2)
    film, lungs = torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)
    assert len(backbone.parts) == 5
    entered = backbone.enter(film, lungs)
    maps = backbone.extract(entered)
    assert [tuple(each.shape[2:]) for each in maps] == [(4, 4), (2, 2)]
    assert all(each.min() >= 0 for each in maps)
    assert backbone.head.fc1.in_features == sum(each.shape[1] for each in maps)
    for border in range(5):
        below = backbone.through(entered, 0, border)
        resumed = backbone.extract(below, border)
        assert all(torch.equal(a, b) for a, b in zip(resumed, maps, strict=True))
    with torch.no_grad():
        whole, again = backbone(film, lungs), backbone.decide(maps, lungs)
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parts_hold_every_weight_outside_the_head_once(name):
    backbone = drawn(name)
    inside = [id(weight) for part in backbone.parts for weight in part.parameters()]
    outside = [id(w) for key, w in backbone.named_parameters() if not key.startswith("head.")]
    assert sorted(inside) == sorted(outside)


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_a_stem_of_another_width_is_read_by_the_first_layer(name):
    backbone = drawn(name, layout=Layout(stem=24))
    assert backbone.conv1.out_channels == backbone.bn1.num_features == 24
    first = backbone.layer1[0]
    assert first.conv1.in_channels == first.downsample[0].in_channels == 24
    out = backbone(torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64))
    assert out.cam.shape == (2, 2, 2)


def test_a_bottleneck_may_stride_in_its_first_convolution():
    block = drawn("resnet50", layout=Layout(stride="first")).layer3[0]
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    block = drawn("resnet50").layer3[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_the_pool_may_be_padded_at_the_end_alone():
    pool = drawn("resnet50", layout=Layout(pool="end")).maxpool
    maps = torch.rand(1, 3, 16, 16)
    expected = nn.functional.max_pool2d(nn.functional.pad(maps, (0, 1, 0, 1)), 3, 2)
    assert torch.equal(pool(maps), expected)


def test_masked_input_hides_what_is_not_lung():
    film, lungs = torch.rand(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    lungs[:, :, 16:48] = 1
    masked, plain = drawn("vgg16", masked=True), drawn("vgg16")
    assert torch.equal(masked.enter(film, lungs), plain.enter(film * lungs, lungs))
    outside = film + 0.5 * (1 - lungs)
    assert torch.equal(masked.enter(film, lungs), masked.enter(outside, lungs))
