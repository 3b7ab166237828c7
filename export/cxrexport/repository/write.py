"""Writes a model repository around its graphs, and the digests that name it."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrclient import serving
from cxrclient.files import sha256_of, write_whole
from cxrclient.serving import RECORD
from cxrexport.ensemble import DEFAULT_MEMBERS
from cxrexport.repository.configs import WARMUP_FILM, configuration_texts
from cxrexport.repository.spec import ADMISSION, ENSEMBLE, PREPROCESS, RepositorySpec

# Triton refuses a model without a version directory; Git and wheels keep no empty one.
_VERSION_NOTE = b"An ensemble has no file, but Triton wants the directory of its version.\n"
# Drawn once from a UUID (PS3.5 B.2): the file must not change with pydicom's version.
_WARMUP_UID = "2.25.282473150564522440253880738556689056033"
_STEP = '''"""The step `{step}` of the ensemble: all of it is in {package}.triton_step."""

from cxrexport.shared_memory import close_shared_memory

close_shared_memory()  # first: what follows takes a second to import

from {package}.triton_step import TritonPythonModel  # noqa: E402

__all__ = ["TritonPythonModel"]
'''
_PACKAGES = {PREPROCESS: "cxrexport.preprocessing", ADMISSION: "cxrexport.admission"}


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
    hashes = graph_hashes(directory, spec)
    for name, content in generated_files(spec, hashes).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)


def generated_files(spec: RepositorySpec, hashes: Mapping[str, str]) -> dict[str, bytes]:
    """Return every generated file: path relative to the repository → content.

    Args:
        spec: what the repository is made from.
        hashes: graph name → sha256 (hex) of its model.onnx.
    """
    digest = model_digest(hashes, spec)
    texts = configuration_texts(spec, digest)
    files = {name: text.encode() for name, text in texts.items()}
    for step, package in _PACKAGES.items():
        files[f"{step}/1/model.py"] = _STEP.format(step=step, package=package).encode()
    files[f"{PREPROCESS}/warmup/{WARMUP_FILM}"] = _warmup_film()
    files[f"{ENSEMBLE}/1/README.md"] = _VERSION_NOTE
    record = {
        "spec": spec.to_dict(),
        "graphs": dict(hashes),
        "model_digest": digest,
        "embedder": spec.embedder,
        "files": {name: sha256_of(content) for name, content in files.items()},
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    return {RECORD: text.encode(), **files}


def graph_files(directory: Path, spec: RepositorySpec) -> dict[str, Path]:
    """Return graph name → its ONNX file, whether or not it is there."""
    return {graph: Path(directory) / graph / "1" / "model.onnx" for graph in spec.graphs}


def graph_hashes(directory: Path, spec: RepositorySpec) -> dict[str, str]:
    """Return graph name → sha256 (hex) for every graph file that is there."""
    paths = graph_files(directory, spec)
    return {graph: sha256_of(path) for graph, path in paths.items() if path.is_file()}


def model_digest(hashes: Mapping[str, str], spec: RepositorySpec) -> str:
    """Return the digest that names a model; see `cxrclient.serving.model_digest`.

    The default members' embedding is not in it, so that the digests of before members were a list
    stay what they are.

    Args:
        hashes: graph → sha256 (hex) of its file.
        spec: the repository's.
    """
    embedder = None if spec.members == DEFAULT_MEMBERS else spec.embedder
    return serving.model_digest(hashes, spec.preprocessing.digest, spec.labels, embedder)


def _warmup_film() -> bytes:
    """Draw one small film as a serialized BYTES element: its length (uint32, little) and a DICOM.

    DICOM, so that the server has loaded pydicom and its decoders before the first film comes: half
    a second. Whole numbers only, so that every machine draws the same film.
    """
    rows, columns = np.mgrid[-48:48, -40:40]
    chest = 180 - (rows**2 + columns**2) // 32
    for side in (-18, 18):
        lung = np.maximum(0, 90 - (columns - side) ** 2 - rows**2 // 6)
        chest = chest - lung
    encoded = _dicom(np.clip(chest, 0, 255).astype(np.uint16) * np.uint16(16))
    return struct.pack("<I", len(encoded)) + encoded


def _dicom(image: NDArray[np.uint16]) -> bytes:
    """Store an image [height, width] of 12 bits as Computed Radiography, Explicit VR."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.ImplementationClassUID = _WARMUP_UID
    film.file_meta.ImplementationVersionName = "CXR_WARMUP"
    film.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    film.SOPInstanceUID = _WARMUP_UID
    film.Modality, film.BodyPartExamined = "CR", "CHEST"
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.Rows, film.Columns = image.shape
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.WindowCenter, film.WindowWidth = 2048, 4096
    film.PixelData = image.astype("<u2").tobytes()
    film["PixelData"].VR = "OW"
    stream = io.BytesIO()
    film.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
