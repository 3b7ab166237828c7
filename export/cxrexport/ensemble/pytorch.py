"""Runs torch modules as if they were graphs: arrays in, arrays out, on the modules' own device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from cxrexport.ensemble.judge import Arrays

if TYPE_CHECKING:
    from torch import nn


class TorchGraphs:
    """Modules in evaluation mode.

    Args:
        modules: graph → its module; takes the graph's inputs in order. Those that return several
            tensors return a named tuple.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = dict(modules)

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """See `Graphs.run`; the inputs come in the order of the module's arguments."""
        import torch

        module = self._modules[graph]
        device = next((one.device for one in module.parameters()), torch.device("cpu"))
        with torch.inference_mode():
            out = module(*(torch.from_numpy(value).to(device) for value in inputs.values()))
        named = {"LUNGS": out} if isinstance(out, torch.Tensor) else out._asdict()
        return {name.upper(): value.cpu().numpy() for name, value in named.items()}
