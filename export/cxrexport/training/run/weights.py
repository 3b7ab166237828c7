"""A checkpoint's identity: of its tensors, because the order of safetensors' metadata is random."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["weights_digest"]


def weights_digest(checkpoint: Path) -> str:
    """Sha256 hex of a safetensors file's names, types, shapes and values.

    The same weights give the same digest, however often they are written.
    """
    from safetensors import safe_open

    digest = hashlib.sha256()
    with safe_open(checkpoint, framework="np") as file:
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name)
            digest.update(f"{name}\0{tensor.dtype.str}\0{tensor.shape}\0".encode())
            digest.update(tensor.tobytes())
    return digest.hexdigest()
