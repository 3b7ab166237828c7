"""Every backbone that can be trained, compared and served: one line each."""

from __future__ import annotations

from collections.abc import Callable

from cxrexport.networks.backbones import Backbone, ResNetBackbone, VGG16Backbone
from cxrexport.networks.densenet import DenseNet121Backbone

__all__ = ["ARCHITECTURES", "make_backbone"]

ARCHITECTURES: dict[str, Callable[[float], Backbone]] = {
    "resnet34": lambda width: ResNetBackbone("basic", (3, 4, 6, 3), width),
    "resnet50": lambda width: ResNetBackbone("bottleneck", (3, 4, 6, 3), width),
    "resnet152": lambda width: ResNetBackbone("bottleneck", (3, 8, 36, 3), width),
    "vgg16": VGG16Backbone,
    "densenet121": DenseNet121Backbone,
}
"""Name → what builds it from a width. Which of them are served says a recipe's `members`."""


def make_backbone(name: str, width: float = 1.0) -> Backbone:
    """Build a backbone with fresh random weights.

    Args:
        name: a key of `ARCHITECTURES`.
        width: factor on every feature channel, 0 < width ≤ 1; 1.0 is the study's.

    Raises:
        ValueError: unknown name, or width out of range.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"Unknown backbone {name!r}; choose one of {', '.join(ARCHITECTURES)}.")
    if not 0 < width <= 1:
        raise ValueError(f"width must be in (0, 1], not {width}.")
    return ARCHITECTURES[name](width)
