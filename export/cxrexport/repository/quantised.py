"""The int8 variant of a repository: what is recorded of it.

`cxrexport quantise` makes it. Its graphs lie beside the others, as OpenVINO's own format:
`<model>/1/model.int8.xml` and `.bin`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INT8_GRAPH = "model.int8.xml"
"""The file that a configuration names; OpenVINO finds the weights beside it, in `.bin`."""


@dataclass(frozen=True)
class Quantised:
    """The int8 graphs of a repository, how they were made and what they cost.

    Attributes:
        files: path relative to the repository → sha256 (hex).
        model_digest: of the graphs that they were made from.
        method: tools and versions.
        calibration_films: how many films gave the activations' ranges.
        calibration_digest: sha256 (hex) over those films' files, in order.
        judged_films: held-out films that both variants judged.
        judged_positives: of them.
        auc_f32: of the ensemble's probability on them; None where they are of one class.
        auc_int8: likewise.
        largest_difference: of the ensemble's probability on a film.
        mean_difference: likewise.
        labels_changed: films whose label changed.
    """

    files: Mapping[str, str]
    model_digest: str
    method: str
    calibration_films: int
    calibration_digest: str
    judged_films: int
    judged_positives: int
    auc_f32: float | None
    auc_int8: float | None
    largest_difference: float
    mean_difference: float
    labels_changed: int

    @property
    def graphs(self) -> frozenset[str]:
        """The models that have an int8 graph."""
        return frozenset(name.split("/")[0] for name in self.files)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Quantised:
        """Read what `dataclasses.asdict` made; an unknown or missing key raises TypeError."""
        return cls(**{**values, "files": dict(values["files"])})


def int8_files(graph: str) -> tuple[str, str]:
    """Return both files of a model's int8 graph, relative to the repository."""
    network = f"{graph}/1/{INT8_GRAPH}"
    return network, network.removesuffix(".xml") + ".bin"


def withdraw(directory: Path) -> None:
    """Take the int8 variant out of service: its configurations go, so no server takes it.

    Its graphs stay until others take their place, or `cxrexport build` removes them.
    """
    for path in directory.glob("*/configs/cpu-int8.pbtxt"):
        path.unlink()
