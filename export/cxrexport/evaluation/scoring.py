"""Films → scores: every network on every film, and the ensemble on films with a part blanked out.

The networks are called through one small interface, so that a run's checkpoints (PyTorch) and a
model repository's graphs (ONNX Runtime) are judged by the same code.
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
from cxrexport.evaluation.blanking import INTERVENTIONS, heat_in_lungs, lung_share
from cxrexport.evaluation.scores import EMBEDDING_NETWORK, ENSEMBLE, Floats, Scores
from cxrexport.manifest import FilmRow

__all__ = ["Judge", "Judged", "RawScores", "judges_of_repository", "judges_of_run", "score"]

BATCH = 8

Maps = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Judged:
    """One network's outputs on n films."""

    margin: torch.Tensor
    """float [n]: logit of the positive class minus that of the negative one."""
    embedding: torch.Tensor
    """float [n, D]."""
    cam: torch.Tensor
    """float [n, S/32, S/32]."""


Judge = Callable[[torch.Tensor, torch.Tensor], Judged]
"""(film [n, 1, S, S], lungs [n, 1, S, S]), both in 0..1 → outputs."""


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

    def of(self, rows: Sequence[FilmRow], chosen: Sequence[int], labels: tuple[str, str]) -> Scores:
        """The scores of some films, by position; `rows` are all N."""
        return Scores(
            films=tuple(rows),
            labels=labels,
            margins=self.margins,
            embedding=self.embedding,
            heat_in_lungs=self.heat_in_lungs,
            lung_share=self.lung_share,
            blanked=self.blanked,
        ).take(np.asarray(chosen, dtype=int))


def score(
    judges: Mapping[str, Judge],
    films: Maps,
    lungs: Maps | None,
    *,
    closely: Sequence[int] = (),
    advance: Callable[[int], None] = lambda films: None,
) -> RawScores:
    """Score films.

    Args:
        judges: network → judge; all see the same films.
        films: uint8 [N, 1, S, S], preprocessed.
        lungs: uint8 [N, 1, S, S], their lung maps; None gives the networks empty ones.
        closely: positions of the films to look at closely: the heatmap's share inside the lungs,
            and the ensemble's members on films with a part blanked out (both need `lungs`).
        advance: called with the number of films done.
    """
    count, members = len(films), [name for name in ENSEMBLE if name in judges]
    raw = RawScores(margins={name: np.full(count, np.nan) for name in judges})
    embedding: npt.NDArray[np.float32] | None = None
    with torch.inference_mode():
        for at in _batches(range(count)):
            film, lung = _unit(films, at), _unit(lungs, at, like=films)
            for name, judge in judges.items():
                judged = judge(film, lung)
                raw.margins[name][at] = judged.margin.double().cpu().numpy()
                if name == EMBEDDING_NETWORK:
                    values = judged.embedding.float().cpu().numpy()
                    if embedding is None:
                        embedding = np.full((count, values.shape[1]), np.nan, dtype=np.float32)
                    embedding[at] = values
            advance(len(at))
        shares = None if lungs is None else _shares(lungs)
        heat = None
        if lungs is not None and members and len(closely):
            heat = np.full(count, np.nan)
            for at in _batches(closely):
                _look_closely(judges, members, films, lungs, at, heat, raw.blanked)
    return RawScores(raw.margins, embedding, heat, shares, raw.blanked)


def _look_closely(
    judges: Mapping[str, Judge],
    members: Sequence[str],
    films: Maps,
    lungs: Maps,
    at: list[int],
    heat: Floats,
    blanked: dict[str, dict[str, Floats]],
) -> None:
    film, lung = _unit(films, at), _unit(lungs, at)
    cams = [judges[name](film, lung).cam.float().cpu() for name in members]
    # As the served `average` does: each member's map over its maximum, then the mean.
    peaks = [cam.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30) for cam in cams]
    heatmap = torch.stack([c / p for c, p in zip(cams, peaks, strict=True)]).mean(dim=0)
    heat[at] = heat_in_lungs(heatmap, lung).numpy()
    for what, blank in INTERVENTIONS.items():
        seen = blank(film, lung)
        for name in members:
            kept = blanked.setdefault(what, {}).setdefault(name, np.full(len(films), np.nan))
            kept[at] = judges[name](*seen).margin.double().cpu().numpy()


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


def judges_of_run(modules: Mapping[str, torch.nn.Module]) -> dict[str, Judge]:
    """Judges of PyTorch backbones in evaluation mode, on whichever device they are."""

    def judge_of(module: torch.nn.Module) -> Judge:
        def judge(film: torch.Tensor, lungs: torch.Tensor) -> Judged:
            device = next(module.parameters()).device
            out = module(film.to(device), lungs.to(device))
            return Judged(out.logits[:, 1] - out.logits[:, 0], out.embedding, out.cam)

        return judge

    return {name: judge_of(module) for name, module in modules.items()}


def judges_of_repository(
    directory: Path, temperatures: Mapping[str, float]
) -> tuple[dict[str, Judge], Any]:
    """Judges of a model repository's graphs, in ONNX Runtime on the CPU.

    Args:
        directory: the repository.
        temperatures: network → constant of its `average`; the margins are as served, divided by
            it.

    Returns:
        The judges, and the lung network: film [n, 1, S, S] → lungs of that shape.
    """
    import onnxruntime

    def session(name: str) -> Any:
        return onnxruntime.InferenceSession(
            directory / name / "1" / "model.onnx", providers=["CPUExecutionProvider"]
        )

    def judge_of(name: str) -> Judge:
        graph = session(name)

        def judge(film: torch.Tensor, lungs: torch.Tensor) -> Judged:
            feed = {"CXR": film.numpy(), "LUNGS": lungs.numpy()}
            logits, embedding, cam = map(
                torch.from_numpy, graph.run(["LOGITS", "EMBEDDING", "CAM"], feed)
            )
            margin = (logits[:, 1] - logits[:, 0]) / temperatures.get(name, 1.0)
            return Judged(margin, embedding, cam)

        return judge

    segment = session("segment")

    def lungs_of(film: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(segment.run(["LUNGS"], {"CXR": film.numpy()})[0])

    return {name: judge_of(name) for name in ENSEMBLE}, lungs_of
