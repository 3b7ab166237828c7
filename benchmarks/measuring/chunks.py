"""What a benchmark keeps of a few films in a row, and what follows from it. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Key = tuple[str, str, int]
"""Alternative, precision, concurrency."""


@dataclass(frozen=True)
class Chunk:
    """Some films through one alternative, without a pause.

    Attributes:
        alternative: `eager-tuned`, `onnxruntime`, `openvino`, `triton` or `predict`.
        precision: `f32`, `bf16` or `int8`.
        concurrency: films in flight at once; 1 for a loop.
        films: how many.
        wall_s: from the first film's start to the last one's end.
        p50_ms: median latency.
        p95_ms: None where the films are too few; see `percentile`.
        p99_ms: likewise.
        cpu_s: processor time of the processes that did the work; for a server without the client.
        peak_mb: largest sum of their proportional memory (PSS) seen meanwhile.
        graph_ms: graph → mean time of a film, where the alternative knows.
        difference: largest |Δp| of the films' probabilities from those of ONNX Runtime.
    """

    alternative: str
    precision: str
    concurrency: int
    films: int
    wall_s: float
    p50_ms: float
    p95_ms: float | None = None
    p99_ms: float | None = None
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    graph_ms: Mapping[str, float] = field(default_factory=dict)
    difference: float | None = None

    @property
    def films_s(self) -> float:
        """Films a second."""
        return self.films / self.wall_s

    @property
    def key(self) -> Key:
        """What is the same for the chunks that belong together."""
        return self.alternative, self.precision, self.concurrency


def enough(films: int, share: float) -> bool:
    """Whether at least one of so many films lies beyond the percentile.

    A p99 of 20 films would only be the slowest film under another name.
    """
    return films * (1 - share) > 1 - 1e-9


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` (in 0..1) of all do not exceed, by nearest rank; None if too few."""
    if not enough(len(values), share):
        return None
    return sorted(values)[math.ceil(share * len(values) - 1e-9) - 1]


def summary(chunks: Sequence[Chunk]) -> dict[str, Any]:
    """One row: chunks of one key. Rates over all films, percentiles as the median of the chunks."""
    alternative, precision, concurrency = chunks[0].key
    films = sum(chunk.films for chunk in chunks)
    graphs = chunks[0].graph_ms
    return {
        "alternative": alternative,
        "precision": precision,
        "concurrency": concurrency,
        "films": films,
        "films_s": films / sum(chunk.wall_s for chunk in chunks),
        "p50_ms": _median(chunk.p50_ms for chunk in chunks),
        "p95_ms": _median(chunk.p95_ms for chunk in chunks),
        "p99_ms": _median(chunk.p99_ms for chunk in chunks),
        "cpu_s_per_film": sum(chunk.cpu_s for chunk in chunks) / films,
        "peak_mb": max(chunk.peak_mb for chunk in chunks),
        "graph_ms": {graph: _median(chunk.graph_ms[graph] for chunk in chunks) for graph in graphs},
        "difference": max((c.difference for c in chunks if c.difference is not None), default=None),
    }


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def summaries(chunks: Sequence[Chunk]) -> list[dict[str, Any]]:
    """A row for each key, in the order in which the keys first came."""
    by_key: dict[Key, list[Chunk]] = {}
    for chunk in chunks:
        by_key.setdefault(chunk.key, []).append(chunk)
    return [summary(some) for some in by_key.values()]


def interleaved_ratio(chunks: Sequence[Chunk], of: Key, beside: Key) -> float | None:
    """Films a second of one alternative over another's, each chunk beside its neighbours in time.

    A machine that slows down for a minute slows both; so each chunk of `of` is divided by the mean
    of the nearest chunks of `beside` before and after it, and the median of these is returned.

    Args:
        chunks: in the order in which they were measured.
        of: key of the numerator.
        beside: key of the denominator.
    """
    places = [number for number, chunk in enumerate(chunks) if chunk.key == beside]
    ratios = []
    for number, chunk in enumerate(chunks):
        if chunk.key != of or not places:
            continue
        before = [place for place in places if place < number][-1:]
        after = [place for place in places if place > number][:1]
        near = [chunks[place].films_s for place in before + after]
        ratios.append(chunk.films_s / statistics.mean(near))
    return statistics.median(ratios) if ratios else None


def share_of_peak(
    gmac: Mapping[str, float], peak: Mapping[str, float], seconds: float
) -> float | None:
    """Share of the machine's convolution peak: Σ(GMACᵢ / peak of its precision) / Σ time.

    Args:
        gmac: precision → GMAC of a film that are computed in it.
        peak: precision → measured GMAC/s.
        seconds: time of a film.

    Returns:
        None where a precision has no peak.
    """
    if any(peak.get(precision) is None for precision in gmac):
        return None
    return sum(amount / peak[precision] for precision, amount in gmac.items()) / seconds


def chunk_record(chunk: Chunk) -> dict[str, Any]:
    """What is kept of a chunk beside its row: enough to see the noise."""
    kept = ("alternative", "precision", "concurrency", "films", "wall_s", "p50_ms", "cpu_s")
    return {name: value for name, value in asdict(chunk).items() if name in kept}
