"""Writes a model repository around its graphs, and the digests that name it."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.repository.configs import WARMUP_FILM, configuration_texts
from cxrexport.repository.spec import ADMISSION, ENSEMBLE, GRAPHS, PREPROCESS, RepositorySpec

__all__ = ["MANIFEST", "generated_files", "graph_hashes", "model_digest", "write_repository"]

MANIFEST = "repository.json"
"""At the repository's root; Triton reads directories only."""

# Triton refuses a model without a version directory; Git and wheels keep no empty one.
_VERSION_NOTE = b"An ensemble has no file, but Triton wants the directory of its version.\n"
_PREPROCESS_SOURCE = Path(__file__).with_name("triton_preprocess.py")
_ADMISSION_SOURCE = Path(__file__).with_name("triton_admission.py")


def write_repository(spec: RepositorySpec, directory: Path) -> None:
    """Write everything but the graphs, which must be there: `<model>/1/model.onnx`.

    Each file is replaced at once, so a reader never sees half of one; `repository.json` is the
    first, so `cxrexport check` misses what did not follow.

    Args:
        spec: what the repository is made from.
        directory: the repository; made where it is absent.

    Raises:
        OSError: the directory cannot be written.
    """
    directory = Path(directory)
    hashes = graph_hashes(directory)
    for name, content in generated_files(spec, hashes).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".part")
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


def generated_files(spec: RepositorySpec, hashes: Mapping[str, str]) -> dict[str, bytes]:
    """Return every generated file: path relative to the repository → content.

    Args:
        spec: what the repository is made from.
        hashes: graph name → sha256 (hex) of its model.onnx.
    """
    digest = model_digest(hashes, spec.preprocessing, spec.labels)
    manifest = {"spec": spec.to_dict(), "graphs": dict(hashes), "model_digest": digest}
    files = {MANIFEST: (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode()}
    texts = configuration_texts(spec, digest)
    files |= {name: text.encode() for name, text in texts.items()}
    files[f"{PREPROCESS}/1/model.py"] = _PREPROCESS_SOURCE.read_bytes()
    files[f"{ADMISSION}/1/model.py"] = _ADMISSION_SOURCE.read_bytes()
    files[f"{PREPROCESS}/warmup/{WARMUP_FILM}"] = _warmup_film()
    files[f"{ENSEMBLE}/1/README.md"] = _VERSION_NOTE
    return files


def graph_hashes(directory: Path) -> dict[str, str]:
    """Return graph name → sha256 (hex) for every graph file that is there."""
    paths = {graph: Path(directory) / graph / "1" / "model.onnx" for graph in GRAPHS}
    return {
        graph: hashlib.sha256(path.read_bytes()).hexdigest()
        for graph, path in paths.items()
        if path.is_file()
    }


def model_digest(
    hashes: Mapping[str, str], preprocessing: PreprocessingSpec, labels: Sequence[str]
) -> str:
    """Return the sha256 (hex) that names a model: graphs, preprocessing and labels.

    The threshold, the notice, the name and the gate are not in it: embeddings and probabilities
    stay comparable when they change.
    """
    content = json.dumps(
        {
            "graphs": sorted(hashes.items()),
            "preprocessing": preprocessing.digest,
            "labels": list(labels),
        },
        sort_keys=True,
    )
    return hashlib.sha256(content.encode()).hexdigest()


def _warmup_film() -> bytes:
    """Draw one small film as a serialized BYTES element: its length (uint32, little) and a PNG.

    Whole numbers and stored blocks only, so that every machine writes the same bytes.
    """
    rows, columns = np.mgrid[-48:48, -40:40]
    chest = 180 - (rows**2 + columns**2) // 32
    for side in (-18, 18):
        lung = np.maximum(0, 90 - (columns - side) ** 2 - rows**2 // 6)
        chest = chest - lung
    encoded = _png(np.clip(chest, 0, 255).astype(np.uint8))
    return struct.pack("<I", len(encoded)) + encoded


def _png(image: NDArray[np.uint8]) -> bytes:
    """Encode a grey image [height, width] without compressing it (RFC 2083, RFC 1951 3.2.4)."""
    height, width = image.shape
    raw = b"".join(b"\0" + row.tobytes() for row in image)
    stored = struct.pack("<BHH", 1, len(raw), len(raw) ^ 0xFFFF) + raw
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(raw))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
