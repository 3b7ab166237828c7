"""Every backbone that can be trained, compared and served: one line each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cxrexport.networks.backbones import Backbone, ResNetBackbone, VGG16Backbone
from cxrexport.networks.densenet import DenseNet121Backbone
from cxrexport.networks.layout import Design, Layout, Pooling

__all__ = ["ARCHITECTURES", "make_backbone"]

ARCHITECTURES: dict[str, Callable[[float, Design], Backbone]] = {
    "resnet34": partial(ResNetBackbone, "basic", (3, 4, 6, 3)),
    "resnet50": partial(ResNetBackbone, "bottleneck", (3, 4, 6, 3)),
    "resnet152": partial(ResNetBackbone, "bottleneck", (3, 8, 36, 3)),
    "vgg16": VGG16Backbone,
    "densenet121": DenseNet121Backbone,
}
"""Name → what builds it of a width and a design; a recipe's `members` say which are served."""


def make_backbone(
    name: str,
    width: float = 1.0,
    *,
    layout: Layout | None = None,
    pooling: Pooling = "average",
    stages: int = 1,
    masked: bool = False,
    standardised: bool = False,
) -> Backbone:
    """Build a backbone with fresh random weights.

    Args:
        name: a key of `ARCHITECTURES`.
        width: factor on every feature channel, 0 < width ≤ 1; 1.0 is the study's.
        layout: of a ResNet whose weights learnt with another one than torchvision's.
        pooling: see `Design`; so are the three below.
        stages: how many of the last parts the head reads.
        masked: whether the film is multiplied by the lung map.
        standardised: whether the head standardises the pooled features.

    Raises:
        ValueError: unknown name or option, width out of range, or a layout for no ResNet.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"Unknown backbone {name!r}; choose one of {', '.join(ARCHITECTURES)}.")
    if not 0 < width <= 1:
        raise ValueError(f"width must be in (0, 1], not {width}.")
    design = Design(layout or Layout(), pooling, stages, masked, standardised)
    backbone = ARCHITECTURES[name](width, design)
    if design.layout != Layout() and not isinstance(backbone, ResNetBackbone):
        raise ValueError(f"{name} has one layout only; leave `layout` out of its weights' file.")
    return backbone
