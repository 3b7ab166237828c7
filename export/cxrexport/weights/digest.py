"""The identity of weights: of the tensors, because the order of safetensors' metadata is random."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrclient.files import sha256_of

if TYPE_CHECKING:
    import torch


def weights_digest(checkpoint: Path) -> str:
    """Sha256 hex of a safetensors file's names, types, shapes and values.

    The same weights give the same digest, however often they are written.
    """
    from safetensors import safe_open

    with safe_open(checkpoint, framework="np") as file:
        return sha256_of(_parts(file.keys(), file.get_tensor))


def digest_of_tensors(weights: Mapping[str, torch.Tensor]) -> str:
    """Give the digest that a file of these weights has."""
    return sha256_of(_parts(weights, lambda name: weights[name].numpy()))


def _parts(names: Iterable[str], tensor_of: Callable[[str], Any]) -> Iterator[bytes]:
    for name in sorted(names):
        tensor = tensor_of(name)
        yield f"{name}\0{tensor.dtype.str}\0{tensor.shape}\0".encode()
        yield tensor.tobytes()
