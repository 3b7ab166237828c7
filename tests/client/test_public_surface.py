"""What users may import, and what importing costs them."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

import cxrclient

HEAVY = ("torch", "cv2", "pymilvus", "tritonclient", "grpc", "milvus_lite", "pydicom", "PIL")


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_public_names_are_these():
    assert cxrclient.__all__ == [
        "ArchiveError",
        "ArchiveInput",
        "ArchiveMismatch",
        "ArchiveUnavailable",
        "AsyncCxrClient",
        "CxrClient",
        "CxrClientError",
        "EmbeddedServer",
        "EnsembleInfo",
        "Film",
        "FilmError",
        "MetadataError",
        "ModelInfo",
        "Neighbour",
        "OperatingPoint",
        "Prediction",
        "ServeFailed",
        "ServerError",
        "ServerUnfit",
        "ServerUnreachable",
        "SimilarityIndex",
        "UsageError",
        "read_film",
    ]


@pytest.mark.parametrize("name", cxrclient.__all__)
def test_every_public_name_can_be_had(name):
    assert getattr(cxrclient, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Cxr"):
        _ = cxrclient.CxrCleint  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "module",
    ["cxrclient", "cxrclient.cli.app", "cxrclient.errors", "cxrclient.client", "cxrclient.index"],
)
def test_importing_loads_nothing_heavy(module):
    loaded = python(f"import {module}, sys; print(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []


def test_making_every_public_name_loads_neither_torch_nor_the_exporter():
    code = "import cxrclient, sys; [getattr(cxrclient, n) for n in cxrclient.__all__]"
    loaded = python(f"{code}; print(*sys.modules)").split()
    assert {"torch", "cv2", "cxrexport", "pymilvus", "tritonclient"} & set(loaded) == set()


def test_help_takes_no_more_than_half_a_second_of_the_processor():
    """Processor time: what the clock says depends on what else the machine does."""
    command = [str(Path(sys.executable).with_name("cxrclient")), "--help"]
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(times) <= 0.5
