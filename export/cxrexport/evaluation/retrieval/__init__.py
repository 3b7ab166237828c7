"""Nearest films: which they are, and whether they are of the same class."""

from __future__ import annotations

from cxrexport.evaluation.retrieval.examples import Example as Example
from cxrexport.evaluation.retrieval.judged import (
    ByNeighbours as ByNeighbours,
    Distances as Distances,
    Retrieval as Retrieval,
    Source as Source,
    Spread as Spread,
    retrieve as retrieve,
)
