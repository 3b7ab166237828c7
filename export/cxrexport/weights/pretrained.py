"""A backbone takes its starting weights: ImageNet's, a file's, or those of a chest-film network."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cxrexport.errors import CheckpointError
from cxrexport.networks import Backbone, Layout, make_backbone
from cxrexport.weights.chest_weights import fit_to_our_input
from cxrexport.weights.file import Facts, facts_of, metadata_of

_logger = logging.getLogger(__name__)

Weights = dict[str, torch.Tensor]

IMAGENET_URLS = {
    "resnet34": "https://download.pytorch.org/models/resnet34-b627a593.pth",
    "resnet50": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "resnet152": "https://download.pytorch.org/models/resnet152-394f9c45.pth",
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "densenet121": "https://download.pytorch.org/models/densenet121-a639ec97.pth",
}
"""torchvision's IMAGENET1K_V1 checkpoints; the name's last part is the sha256's beginning."""

# Where training scripts put the weights in the dictionary that they save.
_STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "model")
# `norm.1` is how dense layers were named before torch 0.4, in torchvision's own file among others.
_OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def named_in(source: str, network: str) -> str:
    """What a source holds for a network: the file of a folder of `cxrexport weights fetch`.

    Raises:
        CheckpointError: the folder has none for it.
    """
    folder = Path(source)
    if not folder.is_dir():
        return source
    file = folder / f"{network}.safetensors"
    if not file.is_file():
        raise CheckpointError(
            f"{folder} has no {file.name}; make it with `cxrexport weights fetch {network} "
            f"--output {folder}`."
        )
    return str(file)


def layout_of_weights(source: str) -> Layout:
    """Read the layout that starting weights learnt in; a `.safetensors` file may name another.

    Args:
        source: as in `load_pretrained`.

    Raises:
        CheckpointError: the file cannot be read, or names no layout that exists.
    """
    path = Path(source)
    if path.suffix != ".safetensors" or not path.is_file():
        return Layout()
    try:
        return Layout.from_metadata(metadata_of(path))
    except ValueError as error:
        raise CheckpointError(f"{source}: {error}") from error


def check_pretrained(name: str, source: str, design: Mapping[str, Any]) -> None:
    """Load a checkpoint once into a network that is thrown away, before anything long begins.

    Args:
        name: a key of `ARCHITECTURES`.
        source: as in `load_pretrained`.
        design: keywords of `make_backbone`, as `Recipe.design_of` gives them.

    Raises:
        CheckpointError: as `load_pretrained`.
    """
    backbone = make_backbone(name, layout=layout_of_weights(source), **design)
    load_pretrained(backbone, name, source)


def load_pretrained(backbone: Backbone, name: str, source: str) -> list[str]:
    """Load a checkpoint's feature part, strictly; the head stays as it is.

    Args:
        backbone: of the checkpoint's width and layout.
        name: its name in `ARCHITECTURES`.
        source: `imagenet`, fetched once through torch.hub and checked against its checksum; or
            the path of a `.pth` or `.safetensors` file with torchvision's names, also below a
            prefix (`module.model.`, `densenet121.`) and inside a training script's dictionary.
            For densenet121 also TorchXRayVision's or CheXpert's weights, which are fitted to our
            input (`cxrexport.weights.chest_weights`). A file of `cxrexport weights fetch` must
            be whole, with its licence beside it.

    Returns:
        The checkpoint's keys that were dropped (its classifier), which are also logged.

    Raises:
        CheckpointError: the checkpoint cannot be had, or its feature part does not fit.
    """
    weights = _read(name, source)
    facts = facts_of(Path(source)) if source != "imagenet" else None
    kept, dropped = _features(backbone, weights)
    if name == "densenet121":
        kept, done = fit_to_our_input(kept, _classes(weights))
        _logger.info("%s: %s", name, done)
    head = {f"head.{k}": v for k, v in backbone.head.state_dict().items()}
    try:
        backbone.load_state_dict({**kept, **head})
    except RuntimeError as error:
        raise CheckpointError(
            f"{source} does not fit {name}: {_first_line(error)} {_what_to_do(name, facts)}"
        ) from error
    _logger.info("%s: loaded %d tensors, dropped %s", name, len(kept), ", ".join(dropped) or "none")
    return dropped


def _what_to_do(name: str, facts: Facts | None) -> str:
    if facts is None:
        return (
            f"Use a checkpoint of {name} with torchvision's names and sizes, and a recipe with "
            "width 1.0."
        )
    if facts.network != name:
        return f"These are weights of {facts.network}; give them to that network."
    return (
        f"They have width {facts.width:g}; say `widths: {{{name}: {facts.width:g}}}` in the recipe."
    )


def _features(backbone: Backbone, weights: Weights) -> tuple[Weights, list[str]]:
    """Split a checkpoint into the features under our names, and the keys of the rest."""
    ours = [key for key, _ in backbone.named_parameters() if not key.startswith("head.")]
    first = sorted((k for k in weights if f".{k}".endswith(f".{ours[0]}")), key=len)
    prefix = first[0].removesuffix(ours[0]) if first else ""
    classifier = tuple(prefix + dropped for dropped in backbone.dropped_prefixes)
    dropped = {key for key in weights if not key.startswith(prefix) or key.startswith(classifier)}
    kept = {
        _OLD_DENSE_LAYER.sub(r"\1\2.", key.removeprefix(prefix)): value
        for key, value in weights.items()
        if key not in dropped
    }
    return kept, sorted(dropped)


def _classes(weights: Weights) -> int | None:
    """Outputs of a checkpoint's classifier, None where it has none."""
    for key, value in weights.items():
        if re.search(r"(^|\.)classifier\.(\d+\.)?weight$", key):
            return len(value)
    return None


def _read(name: str, source: str) -> Weights:
    if source == "imagenet":
        if name not in IMAGENET_URLS:
            raise CheckpointError(
                f"No ImageNet weights are known of {name}; pass a checkpoint's path, or add their "
                "URL to `weights/pretrained.py`."
            )
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
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(_unreadable(source, error)) from error
    return _state_dict(source, loaded)


def _state_dict(source: str, loaded: Any) -> Weights:
    """The weights in what a file holds: itself, or the dictionary of a training script."""
    candidates = [loaded]
    if isinstance(loaded, Mapping):
        candidates += [loaded[key] for key in _STATE_KEYS if key in loaded]
    for found in candidates:
        if isinstance(found, Mapping):
            weights = {str(k): v for k, v in found.items() if isinstance(v, torch.Tensor)}
            if weights:
                return weights
    raise CheckpointError(
        f"{source} holds no weights by name; save the network's state_dict() as a .pth or "
        ".safetensors file."
    )


def _unreadable(source: str, error: Exception) -> str:
    """Say what to do with a file that torch does not read without running code from it."""
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if not (isinstance(error, pickle.UnpicklingError) and refused):
        return (
            f"{source} is not a checkpoint that can be read safely ({_first_line(error)}); "
            "save it as a plain state dict (.pth or .safetensors)."
        )
    package = refused[1].split(".")[0]
    target = f"{Path(source).stem}.state.pth"
    keys = ", ".join(map(repr, _STATE_KEYS))
    return (
        f"{source} is not only weights: it pickles {refused[1]}, and reading that would run code "
        f"from the file. If you trust it, convert it once where {package} is installed, and pass "
        f"{target}:\n"
        "python -c \"import torch; m = torch.load('"
        f"{source}', map_location='cpu', weights_only=False); torch.save(m.state_dict() if "
        f"hasattr(m, 'state_dict') else next(m[k] for k in ({keys}) if k in m), '{target}')\""
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
