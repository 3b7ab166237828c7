"""A file of starting weights: layout, licence and provenance travel in it, and lie beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors

from cxrclient.files import write_whole
from cxrexport.errors import CheckpointError
from cxrexport.networks import Backbone, Layout
from cxrexport.weights.digest import digest_of_tensors, weights_digest


@dataclass(frozen=True)
class Facts:
    """What a file of starting weights says of itself.

    Attributes:
        network: a key of `ARCHITECTURES`.
        width: of its features.
        layout: what they learnt with.
        attribution: one line: what, by whom, under which licence.
        provenance: where from, and what was done to it.
        notice: the licence and the above, as they are to be passed on; Markdown.
        digest: of the tensors, as `weights_digest` gives it.
    """

    network: str
    width: float
    layout: Layout
    attribution: str
    provenance: str
    notice: str
    digest: str = ""


def licence_beside(path: Path) -> Path:
    """Where the licence of a weights' file lies."""
    return path.with_suffix(".LICENSE.md")


def features_of(backbone: Backbone) -> dict[str, torch.Tensor]:
    """A backbone's weights without its head."""
    weights = backbone.state_dict()
    return {k: v.contiguous() for k, v in weights.items() if not k.startswith("head.")}


def write_weights(weights: dict[str, torch.Tensor], facts: Facts, folder: Path) -> Path:
    """Write `NETWORK.safetensors` and `NETWORK.LICENSE.md`; the licence first."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{facts.network}.safetensors"
    metadata = {
        "network": facts.network,
        "width": f"{facts.width:g}",
        **facts.layout.metadata,
        "attribution": facts.attribution,
        "provenance": facts.provenance,
        "notice": facts.notice,
        "digest": digest_of_tensors(weights),
    }
    write_whole(licence_beside(path), facts.notice)
    write_whole(path, safetensors(weights, metadata=metadata))
    return path


def metadata_of(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a safetensors file that can be read ({error}); write it again."
        ) from error


def facts_of(path: Path) -> Facts | None:
    """Read what a file says of itself; None of one that `write_weights` did not write.

    Raises:
        CheckpointError: it cannot be read, its licence is not beside it, or its weights are not
            those that it was written with.
    """
    if path.suffix != ".safetensors":
        return None
    said = metadata_of(path)
    if "notice" not in said:
        return None
    again = f"write it again: `cxrexport weights fetch {said.get('network', 'NETWORK')}`."
    try:
        facts = Facts(
            network=said["network"],
            width=float(said["width"]),
            layout=Layout.from_metadata(said),
            attribution=said["attribution"],
            provenance=said["provenance"],
            notice=said["notice"],
            digest=said["digest"],
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: its metadata are not whole ({error}); {again}") from error
    if facts.notice not in _text(licence_beside(path)):
        raise CheckpointError(
            f"{licence_beside(path)} is missing or not what was written with these weights: they "
            f"may only be passed on with their licence ({facts.attribution}). Copy it from where "
            f"the weights came from, or {again}"
        )
    if weights_digest(path) != facts.digest:
        raise CheckpointError(f"{path}: its weights are not those that it was made with; {again}")
    return facts


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
