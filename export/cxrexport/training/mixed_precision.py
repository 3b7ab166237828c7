"""Mixed precision: the forward pass of training in bfloat16, where the machine computes it."""

from __future__ import annotations

import platform
from typing import Any

import torch
from monai.inferers import SimpleInferer
from torch import nn

from cxrexport.training.recipe import Recipe


class MixedPrecisionInferer(SimpleInferer):  # type: ignore[misc]  # MONAI is untyped here
    """Calls a network under bf16 autocast, or in float32; returns float32.

    MONAI's own `amp` asks for CUDA; autocast by device type works on CPUs too.
    """

    def __init__(self, *, bf16: bool) -> None:
        super().__init__()
        self.bf16 = bf16

    def __call__(
        self, inputs: torch.Tensor, network: nn.Module, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Score a batch."""
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.bf16):
            scores: torch.Tensor = network(inputs, *args, **kwargs).float()
        return scores


def use_bf16(recipe: Recipe, device: torch.device) -> bool:
    """Whether to train in bfloat16: as the recipe says; `auto` where the device computes in it."""
    if recipe.precision != "auto":
        return recipe.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine() in ("x86_64", "AMD64"):
        # oneDNN says yes to any AVX-512, but without these instructions it only emulates.
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return bool(native)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
