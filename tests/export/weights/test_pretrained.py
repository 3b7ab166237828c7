"""A network starts from the weights it was given: the same film gives the same features."""

from __future__ import annotations

import functools
import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn import functional

from cxrexport.errors import CheckpointError
from cxrexport.networks import make_backbone
from cxrexport.weights import load_pretrained

Weights = dict[str, torch.Tensor]


def torchvision_like(name: str) -> Weights:
    """A checkpoint as torchvision saves it: features under its names, and its classifier."""
    weights = {
        k: torch.rand_like(v) if v.is_floating_point() else v
        for k, v in make_backbone(name).state_dict().items()
        if not k.startswith("head.") and k != "mean"
    }
    classifiers = {"vgg16": ("classifier.6", 4096), "densenet121": ("classifier", 1024)}
    classifier = classifiers.get(name, ("fc", 512))
    weights[f"{classifier[0]}.weight"] = torch.rand(1000, classifier[1])
    weights[f"{classifier[0]}.bias"] = torch.rand(1000)
    return weights


@functools.cache
def chest_checkpoint(channels: int, classes: int) -> Weights:
    """A made-up DenseNet121 that takes films in its own range, with norms to fit them."""
    torch.manual_seed(channels)
    with torch.device("meta"):
        names = make_backbone("densenet121").state_dict()
    weights = {}
    for key, value in names.items():
        if not key.startswith("features."):
            continue
        if key.endswith("num_batches_tracked"):
            weights[key] = torch.tensor(9)
        elif value.ndim == 4:
            weights[key] = torch.randn(value.shape) * (2 / value[0].numel()) ** 0.5
        else:
            centre = 0.0 if key.endswith(("bias", "running_mean")) else 1.0
            weights[key] = centre + 0.1 * torch.rand(value.shape)
    kernel = weights["features.conv0.weight"][:, :channels].contiguous()
    scale = 500.0 if channels == 1 else 1.0
    weights["features.conv0.weight"] = kernel
    weights["features.norm0.running_mean"] *= scale
    weights["features.norm0.running_var"] *= scale**2
    weights["classifier.weight"] = torch.rand(classes, 1024)
    weights["classifier.bias"] = torch.rand(classes)
    return weights


def densenet121(weights: Weights, image: torch.Tensor) -> torch.Tensor:
    """The published network, written from the paper: nothing of ours in it."""

    def norm(maps: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance, gamma, beta = (
            weights[f"features.{name}.{part}"].view(1, -1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (maps - mean) / torch.sqrt(variance + 1e-5) * gamma + beta

    def conv(maps: torch.Tensor, name: str, **kwargs: int) -> torch.Tensor:
        return functional.conv2d(maps, weights[f"features.{name}.weight"], **kwargs)

    maps = torch.relu(norm(conv(image, "conv0", stride=2, padding=3), "norm0"))
    maps = functional.max_pool2d(maps, 3, stride=2, padding=1)
    for block, layers in enumerate((6, 12, 24, 16), start=1):
        for layer in range(1, layers + 1):
            at = f"denseblock{block}.denselayer{layer}"
            new = conv(torch.relu(norm(maps, f"{at}.norm1")), f"{at}.conv1")
            new = conv(torch.relu(norm(new, f"{at}.norm2")), f"{at}.conv2", padding=1)
            maps = torch.cat([maps, new], dim=1)
        if block < 4:
            maps = conv(
                torch.relu(norm(maps, f"transition{block}.norm")), f"transition{block}.conv"
            )
            maps = functional.avg_pool2d(maps, 2)
    return torch.relu(norm(maps, "norm5"))


def our_features(backbone: nn.Module, film: torch.Tensor, lungs: torch.Tensor) -> torch.Tensor:
    stacked = torch.cat([film, lungs, torch.zeros_like(film)], dim=1)
    return backbone.eval().extract((stacked - backbone.mean) / backbone.std)[-1]


def loaded(weights: object, tmp_path) -> tuple[nn.Module, list[str]]:
    torch.save(weights, tmp_path / "chest.pth")
    backbone = make_backbone("densenet121")
    return backbone, load_pretrained(backbone, "densenet121", str(tmp_path / "chest.pth"))


def assert_same_features(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.max() > 0.1, "features of zeros would prove nothing"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.max()))


@pytest.mark.parametrize("name", ["resnet34", "vgg16", "densenet121"])
def test_imagenet_file_fills_the_features_and_drops_the_classifier(name, tmp_path, caplog):
    weights = torchvision_like(name)
    torch.save(weights, tmp_path / "imagenet.pth")
    backbone = make_backbone(name)
    with caplog.at_level("INFO"):
        dropped = load_pretrained(backbone, name, str(tmp_path / "imagenet.pth"))
    state = backbone.state_dict()
    assert all(torch.equal(state[k], v) for k, v in weights.items() if k not in dropped)
    assert [key.split(".")[-1] for key in dropped] == ["bias", "weight"]
    assert dropped[0] in caplog.text


def test_dense_layers_may_have_torchvisions_old_names(tmp_path):
    weights = torchvision_like("densenet121")
    old = {
        k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v
        for k, v in weights.items()
        if "num_batches_tracked" not in k  # torch 0.4 brought it
    }
    backbone, _ = loaded(old, tmp_path)
    key = "features.denseblock2.denselayer3.{}.weight"
    for name in ("norm1", "conv2"):
        assert torch.equal(backbone.state_dict()[key.format(name)], weights[key.format(name)])


def test_torchxrayvision_weights_give_the_same_features_for_the_same_film(tmp_path, caplog):
    weights = {**chest_checkpoint(1, 18), "op_threshs": torch.rand(18)}
    film = torch.rand(2, 1, 64, 64)
    with caplog.at_level("INFO"):
        backbone, dropped = loaded(weights, tmp_path)
    assert dropped == ["classifier.bias", "classifier.weight", "op_threshs"]
    assert "op_threshs" in caplog.text
    theirs = densenet121(weights, (2 * film - 1) * 1024)  # xrv.datasets.normalize
    assert_same_features(our_features(backbone, film, torch.rand(2, 1, 64, 64)), theirs)


def test_grey_chest_weights_give_the_same_features_for_the_same_film(tmp_path):
    weights = chest_checkpoint(3, 14)
    film = torch.rand(2, 1, 64, 64)
    # Where the film is at the first channel's zero up to its edge, their padding is ours.
    film[:, :, :4] = film[:, :, -4:] = film[:, :, :, :4] = film[:, :, :, -4:] = 0.485
    mean = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
    std = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
    padded = functional.pad(film, (3,) * 4, value=0.485)
    backbone, _ = loaded({"module.model." + k: v for k, v in weights.items()}, tmp_path)
    rgb = (padded.expand(-1, 3, -1, -1) - mean) / std
    first = weights["features.conv0.weight"]
    theirs = functional.conv2d(rgb, first, stride=2)
    norm = {k: weights[f"features.norm0.{k}"] for k in ("running_mean", "running_var")}
    theirs = functional.batch_norm(theirs, **norm)
    state = backbone.state_dict()
    ours = functional.conv2d(
        (film - 0.485) / 0.229, state["features.conv0.weight"][:, :1], None, 2, 3
    )
    norm = {k: state[f"features.norm0.{k}"] for k in ("running_mean", "running_var")}
    torch.testing.assert_close(functional.batch_norm(ours, **norm), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("channels", "classes"), [(1, 18), (3, 14)])
def test_the_lung_map_starts_without_weight_in_chest_weights(channels, classes, tmp_path):
    backbone, _ = loaded(chest_checkpoint(channels, classes), tmp_path)
    kernel = backbone.features.conv0.weight
    assert kernel[:, 0].any()
    assert not kernel[:, 1:].any()


@pytest.mark.parametrize(("channels", "classes"), [(1, 18), (3, 14)])
def test_filters_of_chest_weights_are_left_at_unit_variance(channels, classes, tmp_path):
    """Else the lung map's weights could never grow to the size of those that meet ±1024."""
    backbone, _ = loaded(chest_checkpoint(channels, classes), tmp_path)
    norm = backbone.features.norm0
    torch.testing.assert_close(norm.running_var + norm.eps, torch.ones(64))


def test_a_network_with_chest_weights_is_saved_and_loaded_whole(tmp_path):
    backbone, _ = loaded(chest_checkpoint(1, 18), tmp_path)
    again = make_backbone("densenet121")
    again.load_state_dict(backbone.state_dict())
    film, lungs = torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(again.eval()(film, lungs), backbone.eval()(film, lungs))


@pytest.mark.parametrize(
    ("prefix", "container"),
    [("module.model.", "model_state"), ("module.densenet121.", "state_dict"), ("model.", None)],
)
def test_weights_are_found_below_a_prefix_and_inside_a_training_scripts_file(
    prefix, container, tmp_path
):
    weights = chest_checkpoint(3, 14)
    saved: object = {prefix + key: value for key, value in weights.items()}
    if container:
        saved = {"epoch": 3, "optimizer": {"state": {}}, container: saved}
    backbone, dropped = loaded(saved, tmp_path)
    key = "features.transition2.conv.weight"
    assert torch.equal(backbone.state_dict()[key], weights[key])
    assert dropped == [f"{prefix}classifier.bias", f"{prefix}classifier.weight"]


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(torchvision_like("resnet34"), tmp_path / "imagenet.pth")
    with pytest.raises(CheckpointError, match="does not fit vgg16"):
        load_pretrained(make_backbone("vgg16"), "vgg16", str(tmp_path / "imagenet.pth"))


def test_chest_weights_need_full_width(tmp_path):
    torch.save(chest_checkpoint(1, 18), tmp_path / "chest.pth")
    with pytest.raises(CheckpointError, match=r"recipe with width 1\.0"):
        load_pretrained(
            make_backbone("densenet121", 0.5), "densenet121", str(tmp_path / "chest.pth")
        )


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="can be read safely"):
        load_pretrained(make_backbone("vgg16", 0.125), "vgg16", str(tmp_path / "x.pth"))


def test_a_file_without_weights_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_pretrained(make_backbone("vgg16", 0.125), "vgg16", str(tmp_path / "x.pth"))


def test_a_pickled_model_is_refused_with_a_command_that_converts_it(tmp_path, monkeypatch):
    """TorchXRayVision publishes whole models; the error's own command must make them loadable."""
    package, models = ModuleType("torchxrayvision"), ModuleType("torchxrayvision.models")
    pickled = type("DenseNet", (nn.Module,), {"__module__": "torchxrayvision.models"})
    models.DenseNet = pickled
    monkeypatch.setitem(sys.modules, "torchxrayvision", package)
    monkeypatch.setitem(sys.modules, "torchxrayvision.models", models)
    weights = chest_checkpoint(1, 18)
    model = pickled()
    for key, value in weights.items():
        parent = model
        for part in key.split(".")[:-1]:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        parent.register_buffer(key.split(".")[-1], value)
    torch.save(model, tmp_path / "chex.pt")
    monkeypatch.chdir(tmp_path)
    backbone = make_backbone("densenet121")
    with pytest.raises(CheckpointError, match=r"torchxrayvision\.models\.DenseNet") as refusal:
        load_pretrained(backbone, "densenet121", "chex.pt")
    code = refusal.value.message.split('python -c "')[1].rstrip('"')
    exec(code, {})
    load_pretrained(backbone, "densenet121", "chex.state.pth")
    key = "features.denseblock1.denselayer1.conv1.weight"
    assert torch.equal(backbone.state_dict()[key], weights[key])
