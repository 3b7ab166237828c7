"""Every backbone that can be trained and compared: the ensemble's four, and DenseNet121."""

from __future__ import annotations

from collections.abc import Callable

from cxrexport.networks.backbones import BACKBONES, Backbone
from cxrexport.networks.densenet import DenseNet121Backbone

__all__ = ["ARCHITECTURES", "make_backbone"]

ARCHITECTURES: dict[str, Callable[[float], Backbone]] = {
    **BACKBONES,
    "densenet121": DenseNet121Backbone,
}
"""What can be trained; only the networks of `BACKBONES` are served."""


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
