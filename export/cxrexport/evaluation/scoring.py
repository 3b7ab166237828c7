"""Films → scores: every network on every film, and the ensemble on films with a part blanked out.

A run's checkpoints (torch) and a model repository's graphs (ONNX Runtime) are judged by the same
code: both are graphs of `cxrexport.ensemble`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cxrclient.files import private_folder, replacing
from cxrexport.ensemble import DEFAULT_MEMBERS, Arrays, Ensemble, Graphs, embedder_of
from cxrexport.evaluation.blanking import INTERVENTIONS, heat_in_lungs, lung_share
from cxrexport.evaluation.scores import Floats, Scores
from cxrexport.manifest import FilmRow
from cxrexport.networks import Average

BATCH = 8

Maps = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Networks:
    """The networks that are judged.

    Attributes:
        graphs: what computes them.
        scored: their names.
        listed: the ensemble's members, of which some may not be among them.
        temperatures: network → what its logits are divided by; 1 where it is not named.
        quick: computes the same but for CAM, for less; None where nothing does.
    """

    graphs: Graphs
    scored: tuple[str, ...]
    listed: tuple[str, ...] = DEFAULT_MEMBERS
    temperatures: Mapping[str, float] = field(default_factory=dict)
    quick: Graphs | None = None

    def judge(self, network: str, film: torch.Tensor, lungs: torch.Tensor) -> Arrays:
        """As `run`, maybe without CAM."""
        return _asked(self.quick or self.graphs, network, film, lungs)

    def run(self, network: str, film: torch.Tensor, lungs: torch.Tensor) -> Arrays:
        """Return LOGITS [n, 2], EMBEDDING and CAM for films and lungs [n, 1, S, S] in 0..1."""
        return _asked(self.graphs, network, film, lungs)

    def margin(self, network: str, said: Arrays) -> Floats:
        """Return the logit of the positive class minus that of the negative one, [n]."""
        logits = said["LOGITS"]
        margin = (logits[:, 1] - logits[:, 0]) / self.temperatures.get(network, 1.0)
        return np.asarray(margin, dtype=np.float64)

    def lungs(self, film: torch.Tensor) -> torch.Tensor:
        """Return the lung maps of films; both [n, 1, S, S]."""
        return torch.from_numpy(Ensemble(self.graphs, self.listed).lungs(film.numpy()))


def _asked(graphs: Graphs, network: str, film: torch.Tensor, lungs: torch.Tensor) -> Arrays:
    return graphs.run(network, {"CXR": film.numpy(), "LUNGS": lungs.numpy()})


@dataclass(frozen=True, eq=False)
class RawScores:
    """Scores of N films as arrays, as they are kept on disk; NaN where a film was not looked at.

    Attributes:
        margins: network → [N].
        embedding: float32 [N, D]; None without the embedding network.
        heat_in_lungs: [N]; None without members.
        lung_share: [N]; None without lung maps.
        blanked: intervention → member → [N].
    """

    margins: dict[str, Floats] = field(default_factory=dict)
    embedding: npt.NDArray[np.float32] | None = None
    heat_in_lungs: Floats | None = None
    lung_share: Floats | None = None
    blanked: dict[str, dict[str, Floats]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write one npz, whole or not at all; embeddings are of patients, so it is private."""
        arrays: dict[str, Any] = {f"margin/{k}": v for k, v in self.margins.items()}
        for what, margins in self.blanked.items():
            arrays |= {f"blanked/{what}/{name}": margin for name, margin in margins.items()}
        for name in ("embedding", "heat_in_lungs", "lung_share"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        private_folder(path.parent)
        with replacing(path, secret=True) as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> RawScores:
        """Read what `save` wrote."""
        with np.load(path) as file:
            arrays = dict(file)
        blanked: dict[str, dict[str, Floats]] = {}
        for key in arrays:
            if key.startswith("blanked/"):
                _, what, name = key.split("/")
                blanked.setdefault(what, {})[name] = arrays[key]
        return cls(
            margins={k.split("/")[1]: v for k, v in arrays.items() if k.startswith("margin/")},
            embedding=arrays.get("embedding"),
            heat_in_lungs=arrays.get("heat_in_lungs"),
            lung_share=arrays.get("lung_share"),
            blanked=blanked,
        )

    def joined(self, other: RawScores) -> RawScores:
        """These scores and those of other networks on the same films."""

        def either(a: Any, b: Any) -> Any:
            return b if a is None else a

        return RawScores(
            margins={**self.margins, **other.margins},
            embedding=either(self.embedding, other.embedding),
            heat_in_lungs=either(self.heat_in_lungs, other.heat_in_lungs),
            lung_share=either(self.lung_share, other.lung_share),
            blanked={**self.blanked, **other.blanked},
        )

    def of(
        self,
        rows: Sequence[FilmRow],
        chosen: Sequence[int],
        labels: tuple[str, str],
        listed: tuple[str, ...] = DEFAULT_MEMBERS,
    ) -> Scores:
        """The scores of some films.

        Args:
            rows: all N films.
            chosen: positions of those.
            labels: negative and positive class.
            listed: the ensemble's members.
        """
        return Scores(
            films=tuple(rows),
            labels=labels,
            margins=self.margins,
            embedding=self.embedding,
            heat_in_lungs=self.heat_in_lungs,
            lung_share=self.lung_share,
            blanked=self.blanked,
            listed=listed,
        ).take(np.asarray(chosen, dtype=int))


def score(
    networks: Networks,
    films: Maps,
    lungs: Maps | None,
    *,
    closely: Sequence[int] = (),
    advance: Callable[[int], None] = lambda films: None,
) -> RawScores:
    """Score films.

    Args:
        networks: what judges; all see the same films.
        films: uint8 [N, 1, S, S], preprocessed.
        lungs: uint8 [N, 1, S, S], their lung maps; None gives the networks empty ones.
        closely: positions of the films to look at closely: the heatmap's share inside the lungs,
            and the ensemble's members on films with a part blanked out (both need `lungs`).
        advance: called with the number of films done.
    """
    count = len(films)
    members = [name for name in networks.listed if name in networks.scored]
    embedder = embedder_of(networks.listed)
    raw = RawScores(margins={name: np.full(count, np.nan) for name in networks.scored})
    embedding: npt.NDArray[np.float32] | None = None
    look = set(closely) if lungs is not None and members else set()
    heat = np.full(count, np.nan) if look else None
    others = [place for place in range(count) if place not in look]
    for at in (*_batches(sorted(look)), *_batches(others)):
        film, lung = _unit(films, at), _unit(lungs, at, like=films)
        whole: dict[str, Arrays] = {}
        for name in networks.scored:
            if at[0] in look and name in members:
                whole[name] = networks.run(name, film, lung)
            # What `run` said with CAM need not be asked again, unless there is a quicker way that
            # others were asked by.
            known = whole.get(name) if networks.quick is None else None
            said = networks.judge(name, film, lung) if known is None else known
            raw.margins[name][at] = networks.margin(name, said)
            if name == embedder:
                values = said["EMBEDDING"].astype(np.float32)
                if embedding is None:
                    embedding = np.full((count, values.shape[1]), np.nan, dtype=np.float32)
                embedding[at] = values
        if whole and heat is not None:
            heat[at] = _heat([whole[name] for name in members], lung)
            for what, blank in INTERVENTIONS.items():
                seen = blank(film, lung)
                for name in members:
                    kept = raw.blanked.setdefault(what, {})
                    kept.setdefault(name, np.full(count, np.nan))[at] = networks.margin(
                        name, networks.judge(name, *seen)
                    )
        advance(len(at))
    shares = None if lungs is None else _shares(lungs)
    return RawScores(raw.margins, embedding, heat, shares, raw.blanked)


def _heat(members: Sequence[Arrays], lung: torch.Tensor) -> Floats:
    """Share of the members' mean heatmap inside the lungs, [n]."""
    joined = [torch.from_numpy(said[tensor]) for tensor in ("LOGITS", "CAM") for said in members]
    heatmap = Average([1.0] * len(members))(*joined).heatmap
    share: Floats = heat_in_lungs(heatmap, lung).numpy()
    return share


def _shares(lungs: Maps) -> Floats:
    parts = [lung_share(_unit(lungs, at)).numpy() for at in _batches(range(len(lungs)))]
    shares: Floats = np.concatenate(parts)
    return shares


def _batches(positions: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(positions), BATCH):
        yield list(positions[start : start + BATCH])


def _unit(maps: Maps | None, at: list[int], like: Maps | None = None) -> torch.Tensor:
    """uint8 maps → float in 0..1; zeros of the shape of `like` where there are none."""
    if maps is None:
        assert like is not None  # noqa: S101  # the caller's contract
        return torch.zeros((len(at), *like.shape[1:]))
    return torch.from_numpy(np.ascontiguousarray(maps[at])).float().div(255)
