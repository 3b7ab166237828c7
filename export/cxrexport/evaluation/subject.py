"""What is evaluated: a run's checkpoints or a model repository's graphs, behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from cxrclient.files import sha256_of
from cxrexport.ensemble import SEGMENT, OnnxGraphs, TorchGraphs
from cxrexport.errors import CheckpointError
from cxrexport.evaluation.scoring import Networks
from cxrexport.networks import ARCHITECTURES
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.training.loop import pick_device
from cxrexport.training.recipe import Recipe
from cxrexport.training.run import Run, origins_in_words, weights_digest


@dataclass(frozen=True)
class Subject:
    """One trained set of networks.

    Attributes:
        name: of the recipe or of the model.
        labels: negative and positive class.
        spec: the preprocessing that the networks learnt behind.
        networks: what judges.
        lungs: film [n, 1, S, S] → lung probability; None where the networks need none.
        weights: network → digest of its weights or of its graph, `segment` included.
        threshold: above which a film is called positive.
        recipe: None for a repository.
        origins: what the networks began from, in words; None where that is not known.
        through_lungs: whether the ensemble's members pool over the lungs alone.
    """

    name: str
    labels: tuple[str, str]
    spec: PreprocessingSpec
    networks: Networks
    lungs: Callable[[torch.Tensor], torch.Tensor] | None
    weights: Mapping[str, str]
    threshold: float = 0.5
    recipe: Recipe | None = None
    origins: str | None = None
    through_lungs: bool = False

    @property
    def digest(self) -> str:
        """Sha256 of all weights together."""
        text = "\n".join(f"{name} {digest}" for name, digest in sorted(self.weights.items()))
        return sha256_of(text.encode())


def subject_of_run(path: Path) -> Subject:
    """Load every network of a run that is trained to its end.

    Raises:
        CheckpointError: no run, none of the ensemble's networks trained, or damaged weights.
    """
    run, device = Run.open(path), pick_device()
    trained = [name for name in ARCHITECTURES if run.folder(name).complete]
    if not any(name in run.recipe.served for name in trained):
        raise CheckpointError(
            f"{path} has no trained backbone; run `cxrexport train all --output {path}` first."
        )
    needs_lungs = run.recipe.needs_lungs
    names = [*([SEGMENT] if needs_lungs else ()), *trained]
    graphs = TorchGraphs({name: run.load(name).to(device) for name in names})
    networks = Networks(graphs, tuple(trained), run.recipe.served)
    return Subject(
        name=run.recipe.name,
        labels=run.recipe.labels,
        spec=run.recipe.spec,
        networks=networks,
        lungs=networks.lungs if needs_lungs else None,
        weights={name: weights_digest(run.folder(name).checkpoint) for name in names},
        recipe=run.recipe,
        origins=origins_in_words((name, run, name) for name in trained),
        through_lungs=run.recipe.pooling == "lung",
    )


def subject_of_repository(directory: Path) -> Subject:
    """Open a model repository's graphs; they must be those that `repository.json` records.

    Raises:
        RepositoryError: it is not whole.
        CheckpointError: a graph is missing or is not the recorded one.
    """
    from cxrexport.repository import graph_files, graph_hashes, read_repository

    spec, recorded, _ = read_repository(directory)
    found = graph_hashes(directory, spec)
    if wrong := sorted(name for name in spec.graphs if found.get(name) != recorded.get(name)):
        raise CheckpointError(
            f"{directory}: {', '.join(wrong)}: the graph is missing or not the recorded one; see "
            "`cxrexport check`, or build the repository again."
        )
    served = spec.calibration
    temperatures = dict(zip(spec.members, served.temperatures, strict=True)) if served else {}
    files = graph_files(directory, spec)
    graphs = OnnxGraphs({name: files[name] for name in (SEGMENT, *spec.members)})
    networks = Networks(graphs, spec.members, spec.members, temperatures)
    return Subject(
        name=spec.model_name,
        labels=spec.labels,
        spec=spec.preprocessing,
        networks=networks,
        lungs=networks.lungs,
        weights=found,
        threshold=spec.threshold,
        through_lungs=all(graphs.metadata(m).get("pooling") == "lung" for m in spec.members),
    )
