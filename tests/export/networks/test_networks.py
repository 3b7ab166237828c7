"""The networks keep the promises that pretrained weights, the graphs and the paper rely on."""

from __future__ import annotations

import pytest
import torch

from cxrexport.ensemble import DEFAULT_MEMBERS
from cxrexport.networks import (
    ARCHITECTURES,
    EMBEDDING_SIZE,
    Average,
    Backbone,
    LungUNet,
    make_backbone,
)

# Weights of torchvision's models less their classifiers (21,797,672 - 513,000 for ResNet34, ...).
TORCHVISION_FEATURE_WEIGHTS = {
    "resnet34": 21_284_672,
    "resnet50": 23_508_032,
    "resnet152": 58_143_808,
    "vgg16": 14_714_688,
    "densenet121": 6_953_856,
}
TORCHVISION_NAMES = {
    "resnet34": {
        "conv1.weight",
        "bn1.running_mean",
        "layer2.0.downsample.1.bias",
        "layer4.2.conv2.weight",
    },
    "resnet50": {"layer1.0.conv3.weight", "layer1.0.downsample.0.weight", "layer4.2.bn3.weight"},
    "resnet152": {"layer2.7.bn3.running_var", "layer3.35.conv2.weight"},
    "vgg16": {"features.0.weight", "features.10.bias", "features.28.weight"},
    "densenet121": {
        "features.conv0.weight",
        "features.denseblock3.denselayer24.norm1.running_mean",
        "features.denseblock4.denselayer16.conv2.weight",
        "features.transition3.conv.weight",
        "features.norm5.num_batches_tracked",
    },
}


def small(name: str, seed: int = 0) -> Backbone:
    torch.manual_seed(seed)
    backbone = make_backbone(name, width=0.125)
    backbone.train()(torch.rand(8, 1, 64, 64), torch.rand(8, 1, 64, 64))
    return backbone.eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_full_width_features_have_torchvisions_names_and_size(name):
    with torch.device("meta"):
        backbone = make_backbone(name)
    features = {k: p for k, p in backbone.named_parameters() if not k.startswith("head.")}
    assert sum(p.numel() for p in features.values()) == TORCHVISION_FEATURE_WEIGHTS[name]
    assert backbone.state_dict().keys() >= TORCHVISION_NAMES[name]


def test_the_ensemble_is_the_published_four():
    assert DEFAULT_MEMBERS == ("resnet34", "resnet50", "resnet152", "vgg16")
    assert tuple(ARCHITECTURES) == (*DEFAULT_MEMBERS, "densenet121")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_outputs_have_the_ensembles_shapes(name):
    out = small(name)(torch.rand(3, 1, 96, 96), torch.rand(3, 1, 96, 96))
    assert out.logits.shape == (3, 2)
    assert out.embedding.shape == (3, EMBEDDING_SIZE)
    assert out.cam.shape == (3, 3, 3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_head_does_not_shrink_with_the_backbone(name):
    head = make_backbone(name, width=0.125).head
    assert (head.fc1.out_features, head.fc2.out_features, head.fc3.out_features) == (512, 128, 2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_third_channel_is_zero_after_normalisation(name):
    backbone = small(name)
    seen = []
    backbone.extract = lambda stacked: (
        seen.append(stacked) or (torch.zeros(1, backbone.head.fc1.in_features, 2, 2),)
    )
    backbone(torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64))
    assert seen[0].shape[1] == 3
    assert not seen[0][:, 2].any()
    assert seen[0][:, :2].abs().sum() > 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_cam_equals_autograd(name):
    backbone = small(name)
    film, lungs = torch.rand(4, 1, 64, 64), torch.rand(4, 1, 64, 64)
    if not backbone(film, lungs).cam.any():  # whether it is positive is the weights' luck
        with torch.no_grad():
            backbone.head.fc3.weight.neg_()
    kept = {}

    def keep(stacked, extract=backbone.extract):
        (features,) = extract(stacked)
        kept["features"] = features.detach().requires_grad_()
        return (kept["features"],)

    backbone.extract = keep
    out = backbone(film, lungs)
    out.logits[:, 1].sum().backward()
    features = kept["features"]
    alpha = features.grad.mean(dim=(2, 3), keepdim=True)
    expected = torch.relu((alpha * features).sum(dim=1))
    assert expected.max() > 0, "a map of zeros would prove nothing"
    torch.testing.assert_close(out.cam, expected.detach(), rtol=1e-4, atol=1e-6)


def test_average_is_the_mean_of_softmax_and_votes_count_above_half():
    logits = [torch.tensor([[0.0, x]]) for x in (2.0, 1.0, -1.0, -3.0)]
    cams = [torch.full((1, 2, 2), v) for v in (1.0, 2.0, 0.0, 4.0)]
    probability, members, votes, heatmap = Average([1.0] * 4)(*logits, *cams)
    expected = torch.tensor([2.0, 1.0, -1.0, -3.0]).sigmoid()
    torch.testing.assert_close(members[0], expected)
    torch.testing.assert_close(probability[0, 0], expected.mean())
    assert votes.item() == 2
    # Three maps at their own maximum, one without any.
    torch.testing.assert_close(heatmap, torch.full((1, 2, 2), 0.75))


def test_average_divides_logits_by_temperature():
    logits = [torch.tensor([[0.0, 2.0]])] * 4
    cams = [torch.zeros(1, 2, 2)] * 4
    _, members, _, _ = Average((1.0, 2.0, 4.0, 0.5))(*logits, *cams)
    torch.testing.assert_close(members[0], torch.tensor([2.0, 1.0, 0.5, 4.0]).sigmoid())


@pytest.mark.parametrize("temperatures", [(), (1.0, 1.0, 0.0, 1.0)])
def test_average_refuses_impossible_temperatures(temperatures):
    with pytest.raises(ValueError, match="positive temperature"):
        Average(temperatures)


@pytest.mark.parametrize("number", [1, 3, 5])
def test_average_refuses_members_without_a_temperature_each(number):
    logits, cams = [torch.zeros(1, 2)] * 4, [torch.zeros(1, 2, 2)] * 4
    with pytest.raises(ValueError, match="two for each temperature"):
        Average([1.0] * number)(*logits, *cams)


def test_the_average_of_one_member_is_that_member():
    probability, members, votes, heatmap = Average([2.0])(
        torch.tensor([[0.0, 4.0]]), torch.tensor([[[1.0, 4.0]]])
    )
    torch.testing.assert_close(probability, torch.tensor([[2.0]]).sigmoid())
    torch.testing.assert_close(members, probability)
    assert votes.item() == 1
    torch.testing.assert_close(heatmap, torch.tensor([[[0.25, 1.0]]]))


def test_lung_network_gives_a_probability_for_each_pixel():
    with torch.inference_mode():
        lungs = LungUNet().eval()(torch.rand(2, 1, 64, 64))
    assert lungs.shape == (2, 1, 64, 64)
    assert lungs.min() >= 0
    assert lungs.max() <= 1


@pytest.mark.parametrize(("name", "width"), [("resnet18", 1.0), ("resnet34", 0.0), ("vgg16", 1.5)])
def test_impossible_backbones_are_refused(name, width):
    with pytest.raises(ValueError, match=r"Unknown backbone|width"):
        make_backbone(name, width)


def test_activations_before_pooling_are_not_negative():
    """The head's CAM takes the maps as they come out of a ReLU."""
    for name in ARCHITECTURES:
        backbone = small(name)
        assert backbone.extract(torch.randn(1, 3, 64, 64))[-1].min() >= 0
