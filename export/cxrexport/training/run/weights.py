"""A checkpoint's identity: of its tensors, because the order of safetensors' metadata is random."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cxrclient.files import sha256_of

__all__ = ["weights_digest"]


def weights_digest(checkpoint: Path) -> str:
    """Sha256 hex of a safetensors file's names, types, shapes and values.

    The same weights give the same digest, however often they are written.
    """
    from safetensors import safe_open

    def parts() -> Iterator[bytes]:
        with safe_open(checkpoint, framework="np") as file:
            for name in sorted(file.keys()):
                tensor = file.get_tensor(name)
                yield f"{name}\0{tensor.dtype.str}\0{tensor.shape}\0".encode()
                yield tensor.tobytes()

    return sha256_of(parts())
