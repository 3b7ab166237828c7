"""A checkpoint's identity: of its tensors, because the order of safetensors' metadata is random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy.typing as npt

from cxrclient.files import sha256_of

__all__ = ["tensors_digest", "weights_digest"]


def weights_digest(checkpoint: Path) -> str:
    """Sha256 hex of a safetensors file's names, types, shapes and values.

    The same weights give the same digest, however often they are written.
    """
    from safetensors import safe_open

    with safe_open(checkpoint, framework="np") as file:
        return tensors_digest((name, file.get_tensor(name)) for name in sorted(file.keys()))


def tensors_digest(tensors: Iterable[tuple[str, npt.NDArray[Any]]]) -> str:
    """`weights_digest` of tensors in memory; they come in the order of their names."""

    def parts() -> Iterator[bytes]:
        for name, tensor in tensors:
            yield f"{name}\0{tensor.dtype.str}\0{tensor.shape}\0".encode()
            yield tensor.tobytes()

    return sha256_of(parts())
