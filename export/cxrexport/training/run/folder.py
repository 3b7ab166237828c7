"""A run's folder: one recipe, one split, one sub-folder a network, checkpoints in safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save as safetensors
from torch import nn

from cxrclient.files import parse_json, sha256_of, write_whole
from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.networks import ARCHITECTURES, Backbone, Layout, LungUNet, make_backbone
from cxrexport.training.recipe import Recipe

NETWORKS = ("segment", *ARCHITECTURES)
"""What can be trained."""


@dataclass(frozen=True)
class NetworkFolder:
    """What training leaves of one network.

    checkpoint.safetensors  the best epoch by the validation split, with digests
    metrics.json            final figures; its presence says that training is complete
    history.jsonl           one line an epoch
    init.json               what it started from, if from another run (training/initial.py)
    origin.json             what it started from, if from a checkpoint (training/origin.py)
    state.pt                what resuming needs; removed at the end
    """

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The best weights."""
        return self.path / "checkpoint.safetensors"

    @property
    def metrics(self) -> Path:
        """The final figures."""
        return self.path / "metrics.json"

    @property
    def history(self) -> Path:
        """Figures by epoch."""
        return self.path / "history.jsonl"

    @property
    def state(self) -> Path:
        """What resuming needs: weights, optimiser, schedule, epoch."""
        return self.path / "state.pt"

    @property
    def initial(self) -> Path:
        """What the network started from."""
        return self.path / "init.json"

    @property
    def origin(self) -> Path:
        """The checkpoint that it started from."""
        return self.path / "origin.json"

    @property
    def begun(self) -> bool:
        """Whether an epoch was trained."""
        return self.checkpoint.is_file() or self.state.is_file()

    @property
    def complete(self) -> bool:
        """Whether training went to its end."""
        return self.metrics.is_file() and self.checkpoint.is_file()

    def epochs(self) -> list[dict[str, Any]]:
        """Read the history, oldest first; empty before the first epoch."""
        if not self.history.is_file():
            return []
        text = self.history.read_text(encoding="utf-8")
        return [_parsed(self.history, line) for line in text.splitlines()]


class Run:
    """A folder of networks of one recipe.

    The recipe may change for networks that were not begun; a begun one keeps it to its own.

    Raises:
        RecipeError: a network in the folder was begun with another recipe.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self.recipe = path, recipe
        known = path / "recipe.json"
        if known.is_file():
            before = _read_recipe(known)
            for network in NETWORKS:
                begun = self.folder(network).begun
                if begun and before.digest_of(network) != recipe.digest_of(network):
                    raise RecipeError(
                        f"{self.folder(network).path} was begun with another recipe than "
                        f"{recipe.name!r} is now; choose another --output, or delete that folder."
                    )
            if before == recipe:
                return
        path.mkdir(parents=True, exist_ok=True)
        write_whole(known, json.dumps(recipe.model_dump(mode="json"), indent=2) + "\n")

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a run that exists.

        Raises:
            CheckpointError: no run there.
        """
        known = path / "recipe.json"
        if not known.is_file():
            raise CheckpointError(f"{path} is not a run; make one with `cxrexport train`.")
        return cls(path, _read_recipe(known))

    def folder(self, network: str) -> NetworkFolder:
        """Return a network's sub-folder; it may not exist yet."""
        return NetworkFolder(self.path / network)

    def save(self, network: str, module: nn.Module, facts: Mapping[str, str]) -> None:
        """Write a network's weights, bound to the recipe and to the preprocessing."""
        folder = self.folder(network)
        folder.path.mkdir(parents=True, exist_ok=True)
        weights = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
        laid_out = module.design.layout.metadata if isinstance(module, Backbone) else {}
        content = safetensors(weights, metadata={**self._binding(network), **laid_out, **facts})
        write_whole(folder.checkpoint, content)

    def load(self, network: str, *, unfinished: bool = False) -> nn.Module:
        """Build a network and load its best weights, in evaluation mode.

        Args:
            network: `segment` or a backbone.
            unfinished: accept the best epoch so far of a training that is not at its end.

        Raises:
            CheckpointError: untrained, half trained, damaged, of another recipe or preprocessing,
                or learnt behind another lung network than the run has now.
        """
        folder = self.folder(network)
        path = folder.checkpoint
        if not path.is_file() or not (folder.complete or unfinished):
            other = ", or take one over with `--lungs starter`" if network == "segment" else ""
            raise CheckpointError(
                f"{network} is not trained to its end in {self.path}; run "
                f"`cxrexport train {network} --output {self.path}` first{other}."
            )
        bound = self._metadata(network)
        try:
            weights = load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); train it again.") from error
        for key, value in self._binding(network).items():
            if bound.get(key) != value:
                raise CheckpointError(
                    f"{path} has {key} {bound.get(key, 'none')}, the run says {value}; "
                    f"these weights do not belong together. Delete {path.parent}, train it again."
                )
        module = self.make(network, self.layout_of(network))
        module.load_state_dict(weights)
        return module.eval()

    def make(self, network: str, layout: Layout | None = None) -> nn.Module:
        """Build a network with fresh weights from the recipe's seed.

        Args:
            network: `segment` or a backbone.
            layout: of a ResNet whose weights will be loaded; torchvision's by default.
        """
        torch.manual_seed(self.recipe.seed)
        if network == "segment":
            return LungUNet()
        return make_backbone(network, layout=layout, **self.recipe.design_of(network))

    def layout_of(self, network: str) -> Layout:
        """Read the layout that a network's checkpoint learnt in.

        Raises:
            CheckpointError: the checkpoint is damaged.
        """
        try:
            return Layout.from_metadata(self._metadata(network))
        except ValueError as error:
            raise CheckpointError(
                f"{self.folder(network).checkpoint} is damaged ({error}); train it again."
            ) from error

    def _metadata(self, network: str) -> dict[str, str]:
        path = self.folder(network).checkpoint
        try:
            with safe_open(path, framework="pt") as file:
                return file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); train it again.") from error

    def _binding(self, network: str) -> dict[str, str]:
        binding = {
            "network": network,
            "recipe_digest": self.recipe.digest_of(network),
            "preprocessing_digest": self.recipe.spec.digest,
        }
        lungs = self.folder("segment").checkpoint
        if network != "segment" and self.recipe.needs_lungs and lungs.is_file():
            # A backbone is only valid behind the lung network whose maps it learnt from.
            binding["segment_sha256"] = sha256_of(lungs)
        return binding


def read_json(path: Path) -> Any:
    """Read a file that a run keeps.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        return _parsed(path, path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}).") from error


def _parsed(path: Path, text: str | bytes) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); delete {path.parent} and train it again."
        ) from error


def _read_recipe(path: Path) -> Recipe:
    try:
        return Recipe.model_validate(read_json(path))
    except ValidationError as error:
        raise CheckpointError(
            f"{path} is no recipe ({error.error_count()} faults); choose another --output."
        ) from error
