"""Nearest films: which they are, and whether they are of the same class."""

from __future__ import annotations

from cxrexport.evaluation.retrieval.examples import Example
from cxrexport.evaluation.retrieval.judged import (
    ByNeighbours,
    Distances,
    Retrieval,
    Source,
    Spread,
    retrieve,
)

__all__ = [
    "ByNeighbours",
    "Distances",
    "Example",
    "Retrieval",
    "Source",
    "Spread",
    "retrieve",
]
