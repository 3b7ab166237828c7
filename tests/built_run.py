"""A run that stands for a trained one, and the repository that `cxrexport build` makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import nn
from typer.testing import CliRunner

from cxrexport.build import trained_networks
from cxrexport.cli.app import app
from cxrexport.ensemble import DEFAULT_MEMBERS
from cxrexport.networks import LungUNet, make_backbone
from cxrexport.training.recipe import load_recipe
from cxrexport.training.run import Run

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "negative": "normal",
    "positive": "tb",
    "preprocessing": {"size_px": 64},
    "width": 0.125,
    "widths": {"resnet50": 0.25, "vgg16": 0.25},  # square head layers: the OpenVINO trap
    "segment": {
        "epochs": 1,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "learning_rate_decay": 1.0,
        "weight_decay": 0.0,
    },
    "notice": "Drawn for a test.",
}
RECIPE["classify"] = RECIPE["segment"]


def settled(name: str, width: float) -> nn.Module:
    """A backbone as tame as a trained one: batch norm has seen data, residual branches are weak.

    Otherwise an untrained ResNet152 amplifies the last bit of its input a thousandfold.
    """
    torch.manual_seed(3)
    backbone = make_backbone(name, width)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    for block in backbone.modules():
        last = getattr(block, "bn3", getattr(block, "bn2", None))
        if last is not None:
            nn.init.constant_(last.weight, 0.3)
    backbone.train()(torch.rand(4, 1, 64, 64), torch.rand(4, 1, 64, 64))
    backbone.eval()
    if not backbone(torch.rand(4, 1, 64, 64), torch.rand(4, 1, 64, 64)).cam.any():
        with torch.no_grad():
            backbone.head.fc3.weight.neg_()
    return backbone


class Built(NamedTuple):
    """A run that stands for a trained one, its networks, and what `cxrexport build` made of it."""

    run: Run
    networks: dict[str, nn.Module]
    repository: Path
    said: str

    def graph(self, name: str) -> Path:
        """A graph's file."""
        return self.repository / name / "1" / "model.onnx"


def build(folder: Path) -> None:
    """Fill a folder with a recipe, a run of settled networks, and their repository."""
    (folder / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    run = Run(folder / "run", load_recipe(str(folder / "tiny.yaml")))
    torch.manual_seed(3)
    networks = {"segment": LungUNet().eval()}
    networks |= {name: settled(name, run.recipe.width_of(name)) for name in DEFAULT_MEMBERS}
    for name, module in networks.items():
        run.save(name, module, {})
        run.folder(name).metrics.write_text("{}")
    command = ["build", "--run", run.path, "--films", 3, "--repository", folder / "repository"]
    result = CliRunner().invoke(app, [str(word) for word in command])
    assert result.exit_code == 0, result.output
    (folder / "said.txt").write_text(result.output)


def opened(folder: Path) -> Built:
    """What `build` left in a folder."""
    run = Run.open(folder / "run")
    said = (folder / "said.txt").read_text()
    return Built(run, trained_networks(run), folder / "repository", said)
