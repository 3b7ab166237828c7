"""What is evaluated: a run's checkpoints or a model repository's graphs, behind one interface."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from cxrexport.errors import CheckpointError
from cxrexport.evaluation.scores import ENSEMBLE
from cxrexport.evaluation.scoring import Judge, judges_of_repository, judges_of_run
from cxrexport.networks import ARCHITECTURES
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.training.loop import pick_device
from cxrexport.training.recipe import Recipe
from cxrexport.training.run import Run, origins_in_words, weights_digest

__all__ = ["Subject", "subject_of_repository", "subject_of_run"]


@dataclass(frozen=True)
class Subject:
    """One trained set of networks.

    Attributes:
        name: of the recipe or of the model.
        labels: negative and positive class.
        spec: the preprocessing that the networks learnt behind.
        judges: network → judge.
        lungs: film [n, 1, S, S] → lung probability; None where the networks need none.
        weights: network → digest of its weights or of its graph, `segment` included.
        threshold: above which a film is called positive.
        recipe: None for a repository.
        origins: what the networks began from, in words; None where that is not known.
    """

    name: str
    labels: tuple[str, str]
    spec: PreprocessingSpec
    judges: Mapping[str, Judge]
    lungs: Callable[[torch.Tensor], torch.Tensor] | None
    weights: Mapping[str, str]
    threshold: float = 0.5
    recipe: Recipe | None = None
    origins: str | None = None

    @property
    def digest(self) -> str:
        """Sha256 of all weights together."""
        text = "\n".join(f"{name} {digest}" for name, digest in sorted(self.weights.items()))
        return hashlib.sha256(text.encode()).hexdigest()


def subject_of_run(path: Path) -> Subject:
    """Load every network of a run that is trained to its end.

    Raises:
        CheckpointError: no run, none of the ensemble's networks trained, or damaged weights.
    """
    run, device = Run.open(path), pick_device()
    networks = [name for name in ARCHITECTURES if run.folder(name).complete]
    if not any(name in ENSEMBLE for name in networks):
        raise CheckpointError(
            f"{path} has no trained backbone; run `cxrexport train all --output {path}` first."
        )
    needs_lungs = run.recipe.input is None
    modules = {name: run.load(name).to(device) for name in networks}
    segment = run.load("segment").to(device) if needs_lungs else None
    names = (["segment"] if needs_lungs else []) + networks
    return Subject(
        name=run.recipe.name,
        labels=run.recipe.labels,
        spec=run.recipe.spec,
        judges=judges_of_run(modules),
        lungs=None if segment is None else lambda film: segment(film.to(device)),
        weights={name: weights_digest(run.folder(name).checkpoint) for name in names},
        recipe=run.recipe,
        origins=origins_in_words((name, run, name) for name in networks),
    )


def subject_of_repository(directory: Path) -> Subject:
    """Open a model repository's graphs; they must be those that `repository.json` records.

    Raises:
        RepositoryError: it is not whole.
        CheckpointError: a graph is missing or is not the recorded one.
    """
    from cxrexport.repository import MEMBERS, read_repository

    spec, recorded, _ = read_repository(directory)
    found = {
        name: _sha256(path)
        for name in recorded
        if (path := directory / name / "1" / "model.onnx").is_file()
    }
    if wrong := sorted(name for name in recorded if found.get(name) != recorded[name]):
        raise CheckpointError(
            f"{directory}: {', '.join(wrong)}: the graph is missing or not the recorded one; see "
            "`cxrexport check`, or build the repository again."
        )
    served = spec.calibration
    temperatures = dict(zip(MEMBERS, served.temperatures, strict=True)) if served else {}
    judges, lungs = judges_of_repository(directory, temperatures)
    return Subject(
        name=spec.model_name,
        labels=spec.labels,
        spec=spec.preprocessing,
        judges=judges,
        lungs=lungs,
        weights=found,
        threshold=spec.threshold,
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
