"""Which index an archive has: exact while it is small, a graph when it is large (docs/adr/0016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Source: benchmarks/archive.py, docs/adr/0016.
HNSW_FROM = 50_000
_EF_MIN = 128
_EF_MAX = 32768


@dataclass(frozen=True)
class IndexKind:
    """An index of Milvus and what it was built with, as Milvus itself records it."""

    name: str
    parameters: Mapping[str, int] = field(default_factory=dict, hash=False)

    @classmethod
    def described(cls, found: Mapping[str, Any]) -> IndexKind:
        """From the answer of `describe_index`."""
        numbers = {
            name: int(found[name]) for name in ("M", "efConstruction", "nlist") if name in found
        }
        return cls(str(found["index_type"]), numbers)

    @property
    def exact(self) -> bool:
        """Whether each answer is the true one."""
        return self.name == FLAT.name

    def search_params(self, limit: int, *, widely: bool = False) -> dict[str, int]:
        """What a search for `limit` films needs: HNSW keeps `ef` candidates, at least as many."""
        if self.exact:
            return {}
        return {"ef": _EF_MAX if widely else min(max(_EF_MIN, 2 * limit), _EF_MAX)}


FLAT = IndexKind("FLAT")
HNSW = IndexKind("HNSW", {"M": 16, "efConstruction": 200})


def fitting(films: int, *, local: bool) -> IndexKind:
    """The index for an archive of so many films. Milvus Lite has no HNSW."""
    return HNSW if films >= HNSW_FROM and not local else FLAT
