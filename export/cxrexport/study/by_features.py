"""A trial's networks, judged by what their frozen parts made of the films: kept for all trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxrexport.ensemble import Arrays
from cxrexport.networks import Backbone
from cxrexport.study.plan import Plan, architecture_of
from cxrexport.training.classify import pooled_from
from cxrexport.training.films import Frozen, features_of
from cxrexport.training.learning import freeze_parts


class FeatureGraphs:
    """Backbones as `Graphs` gives them, but without CAM, which needs maps that are not kept.

    Films and lung maps are taken as the 8 bits that they are kept in. Of a film with a part blanked
    out that rounds the grey of the blank.

    Args:
        modules: the study's networks, backbones that cache features; moved, set to evaluation.
        plan: the study.
    """

    def __init__(self, modules: Mapping[str, nn.Module], plan: Plan) -> None:
        self._folder = plan.features_folder
        self._frozen: dict[str, Frozen] = {}
        for network, module in modules.items():
            name, backbone = architecture_of(network), cast(Backbone, module)
            freeze_parts(backbone, plan.recipe_of(network).schedule(name).frozen or 0)
            self._frozen[network] = Frozen.of(name, backbone)

    @torch.inference_mode()
    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Return LOGITS [N, 2] and EMBEDDING for CXR and LUNGS [N, 1, S, S] in 0..1."""
        frozen = self._frozen[graph]
        film, lungs = (np.rint(255 * inputs[key]).astype(np.uint8) for key in ("CXR", "LUNGS"))
        shown = torch.from_numpy(features_of(film, lungs, frozen, self._folder)).float()
        weighed = torch.from_numpy(lungs).float().div(255)
        backbone, device = frozen.backbone, frozen.backbone.mean.device
        pooled = pooled_from(backbone, frozen.parts, shown.to(device), weighed.to(device))
        said = backbone.head.classify(pooled)
        return {"LOGITS": said.logits.cpu().numpy(), "EMBEDDING": said.embedding.cpu().numpy()}
