"""ImageNet weights for a backbone: from torchvision's checkpoints, by URL or from a file."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from cxrexport.errors import CheckpointError
from cxrexport.networks.backbones import Backbone

__all__ = ["IMAGENET_URLS", "load_pretrained"]

_logger = logging.getLogger(__name__)

IMAGENET_URLS = {
    "resnet34": "https://download.pytorch.org/models/resnet34-b627a593.pth",
    "resnet50": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "resnet152": "https://download.pytorch.org/models/resnet152-394f9c45.pth",
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
}
"""torchvision's IMAGENET1K_V1 checkpoints; the name's last part is the sha256's beginning."""


def load_pretrained(backbone: Backbone, name: str, source: str) -> list[str]:
    """Load a torchvision checkpoint's feature part, strictly; the head stays as it is.

    Args:
        backbone: a backbone of width 1.0.
        name: its name in `BACKBONES`.
        source: `imagenet`, fetched once through torch.hub and checked against its checksum; or
            the path of a `.pth` or `.safetensors` file with torchvision's names.

    Returns:
        The checkpoint's keys that were dropped (its classifier), which are also logged.

    Raises:
        CheckpointError: the checkpoint cannot be had, or its feature part does not fit.
    """
    weights = _read(name, source)
    kept = {k: v for k, v in weights.items() if not k.startswith(backbone.dropped_prefixes)}
    dropped = sorted(weights.keys() - kept.keys())
    head = {f"head.{k}": v for k, v in backbone.head.state_dict().items()}
    try:
        backbone.load_state_dict({**kept, **head})
    except RuntimeError as error:
        raise CheckpointError(
            f"{source} does not fit {name}: {_first_line(error)} Use torchvision's {name} "
            "checkpoint, and a recipe with width 1.0."
        ) from error
    _logger.info("%s: loaded %d tensors, dropped %s", name, len(kept), ", ".join(dropped) or "none")
    return dropped


def _read(name: str, source: str) -> dict[str, torch.Tensor]:
    if source == "imagenet":
        try:
            weights = torch.hub.load_state_dict_from_url(
                IMAGENET_URLS[name], map_location="cpu", check_hash=True, weights_only=True
            )
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"The ImageNet weights of {name} could not be fetched ({_first_line(error)}). "
                f"Download {IMAGENET_URLS[name]} elsewhere and pass its path as --pretrained."
            ) from error
        return dict(weights)
    path = Path(source)
    if not path.is_file():
        raise CheckpointError(f"{source} is not a file; pass `imagenet` or a checkpoint's path.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise CheckpointError(
            f"{source} is not a checkpoint that can be read safely ({_first_line(error)}); "
            "save it as a plain state dict (.pth or .safetensors)."
        ) from error


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
