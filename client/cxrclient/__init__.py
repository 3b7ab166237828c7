"""Predict chest X-ray films on a Triton server and find similar ones. Research use only.

    from cxrclient import CxrClient

    with CxrClient("localhost:8001") as cxr:
        prediction = cxr.predict("film.dcm")
        print(prediction.label, prediction.probability, cxr.model.notice)

Names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrclient.client import AsyncCxrClient, CxrClient
    from cxrclient.embedded import EmbeddedServer
    from cxrclient.errors import (
        ArchiveError,
        ArchiveInput,
        ArchiveMismatch,
        ArchiveUnavailable,
        CxrClientError,
        FilmError,
        MetadataError,
        ServeFailed,
        ServerError,
        ServerUnfit,
        ServerUnreachable,
        UsageError,
    )
    from cxrclient.film import Film, read_film
    from cxrclient.index import Neighbour, SimilarityIndex
    from cxrclient.prediction import EnsembleInfo, ModelInfo, OperatingPoint, Prediction

_MODULES = {
    "client": ("AsyncCxrClient", "CxrClient"),
    "embedded": ("EmbeddedServer",),
    "errors": (
        "ArchiveError",
        "ArchiveInput",
        "ArchiveMismatch",
        "ArchiveUnavailable",
        "CxrClientError",
        "FilmError",
        "MetadataError",
        "ServeFailed",
        "ServerError",
        "ServerUnfit",
        "ServerUnreachable",
        "UsageError",
    ),
    "film": ("Film", "read_film"),
    "index": ("Neighbour", "SimilarityIndex"),
    "prediction": ("EnsembleInfo", "ModelInfo", "OperatingPoint", "Prediction"),
}
_ORIGIN = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
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


def __getattr__(name: str) -> Any:
    if name not in _ORIGIN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_ORIGIN[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
