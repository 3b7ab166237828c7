"""Norms get the statistics of films, and a ResNet50 becomes a ResNet152 that computes the same.

Source: Chen, Goodfellow and Shlens, "Net2Net", 2016 (deeper networks that begin as shallower ones).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from cxrexport.networks import Backbone, make_backbone
from cxrexport.weights.published import HALF, pairs

BATCH = 6


def refit_norms(net: Backbone, films: torch.Tensor) -> None:
    """Give a ResNet's norms the statistics of films; what the network computes stays as it is.

    So training with batch norm begins where the network ended, whether the norms then keep these
    statistics or take those of each batch.

    Args:
        net: in evaluation mode, its norms as `set_pair` leaves them; changed in place.
        films: float [N, 3, S, S], as `Backbone.enter` gives them.
    """
    sums: dict[nn.Module, list[torch.Tensor]] = {}

    def look(norm: nn.Module, arrived: tuple[torch.Tensor]) -> None:
        maps = arrived[0].double()
        moments = [maps.mean((2, 3)).sum(0), maps.square().mean((2, 3)).sum(0)]
        before = sums.get(norm, [torch.zeros_like(moments[0])] * 2)
        sums[norm] = [a + b for a, b in zip(before, moments, strict=True)]

    norms = [norm for _, norm in pairs(net)]
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    with torch.no_grad():
        for batch in in_batches(films):
            net.extract(batch)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        mean, square = (each / len(films) for each in sums[norm])
        variance = (square - mean.square()).clamp_min(0)
        # `set_pair` left it adding a constant only, and that it goes on doing.
        norm.weight.data = (variance + norm.eps).sqrt().float()
        norm.bias.data += mean.float()
        norm.running_mean, norm.running_var = mean.float(), variance.float()


def in_batches(films: torch.Tensor) -> Iterator[torch.Tensor]:
    """Films or their maps, a few at a time: what a convolution needs is many times their size."""
    for start in range(0, len(films), BATCH):
        yield films[start : start + BATCH]


def deeper(shallow: Backbone) -> Backbone:
    """ResNet152 that computes what a ResNet50 does: its blocks, then ones that add nothing."""
    deep = make_backbone("resnet152", HALF, layout=shallow.design.layout).eval()
    for name, module in deep.named_modules():
        if name.endswith(".bn3"):
            nn.init.zeros_(module.weight)  # a norm's
    weights = {k: v for k, v in shallow.state_dict().items() if not k.startswith("head.")}
    deep.load_state_dict(weights, strict=False)
    return deep
