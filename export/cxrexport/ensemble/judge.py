"""Film → the ensemble's outputs, in Triton's order, whichever library computes the graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cxrexport.ensemble.members import AVERAGE, SEGMENT, embedder_of, of_member

Arrays = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]


class Graphs(Protocol):
    """The ensemble's graphs, however they are computed."""

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Return the outputs of one graph by name; the first axis of every array is the batch."""


@dataclass(frozen=True)
class Ensemble:
    """The ensemble in this process.

    Attributes:
        graphs: what computes.
        members: in the order of the output MEMBERS.
    """

    graphs: Graphs
    members: Sequence[str]

    def lungs(self, film: Floats) -> Floats:
        """Return a film's lung map; both float32 [n, 1, S, S]."""
        return self.graphs.run(SEGMENT, {"CXR": film})["LUNGS"]

    def embedding(self, film: Floats, lungs: Floats) -> Floats:
        """Return the embedding [n, D] of a film and its lung map, without the other members."""
        maps = {"CXR": film, "LUNGS": lungs}
        return self.graphs.run(embedder_of(self.members), maps)["EMBEDDING"]

    def judge(self, film: Floats, lungs: Floats | None = None) -> Arrays:
        """Return what the ensemble says of a film.

        Args:
            film: float32 [n, 1, S, S] in 0..1, preprocessed.
            lungs: its lung map, float32 [n, 1, S, S], where it is known already.

        Returns:
            PROBABILITY [n, 1], MEMBERS [n, members], VOTES [n, 1], HEATMAP [n, h, w],
            EMBEDDING [n, D] and LUNGS [n, 1, S, S].
        """
        lungs = self.lungs(film) if lungs is None else lungs
        maps = {"CXR": film, "LUNGS": lungs}
        said = {member: self.graphs.run(member, maps) for member in self.members}
        votes = {
            of_member(tensor, member): said[member][tensor]
            for tensor in ("LOGITS", "CAM")
            for member in self.members
        }
        embedding = said[embedder_of(self.members)]["EMBEDDING"]
        return {**self.graphs.run(AVERAGE, votes), "EMBEDDING": embedding, "LUNGS": lungs}
