"""Run → model repository: every graph, its configuration, and the parity of both."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxrclient.files import take_place, write_whole
from cxrclient.serving import PASSPORT, PLAN
from cxrexport.ensemble import (
    AVERAGE,
    SEGMENT,
    Arrays,
    Ensemble,
    Graphs,
    OnnxGraphs,
    TorchGraphs,
)
from cxrexport.errors import ExportError, RepositoryError
from cxrexport.networks import Average, Backbone, LungUNet, make_backbone
from cxrexport.onnx import export_graph, round_weights
from cxrexport.repository import (
    REFERENCE,
    RepositorySpec,
    ServedCalibration,
    Weights,
    read_repository,
    write_licences,
    write_repository,
)
from cxrexport.repository.quantised import withdraw
from cxrexport.training.recipe import Recipe
from cxrexport.training.run import Origin, Run, origin_of

FloatArray = npt.NDArray[np.float32]

_logger = logging.getLogger(__name__)

PARITY_PROBABILITY = 1e-4
"""Largest difference of a probability between torch and ONNX; the project's own bar."""


@dataclass(frozen=True)
class Agreement:
    """Largest differences between torch with the rounded weights and ONNX Runtime."""

    films: int
    lungs: float
    members: dict[str, float]
    """Backbone → of its probability."""
    probability: float
    embedding: float
    """Relative to the embedding's largest element."""
    heatmap: float
    rounding: float
    """Of the ensemble's probability, by rounding the weights: torch against torch."""
    weights: Weights
    """What the members' were rounded to; all others are fp16."""


def trained_networks(run: Run) -> dict[str, nn.Module]:
    """Load the networks of a run that are served: the lungs' and its recipe's members.

    Raises:
        CheckpointError: one is missing, damaged or of another recipe.
    """
    return {name: run.load(name) for name in (SEGMENT, *run.recipe.served)}


def starting_weights(run: Run) -> dict[str, Origin]:
    """Network → what it began from, or was taken from, of those that are served."""
    known = {name: origin_of(run, name) for name in (SEGMENT, *run.recipe.served)}
    return {name: origin for name, origin in known.items() if origin is not None}


def random_networks(recipe: Recipe) -> dict[str, nn.Module]:
    """Networks of a recipe's size with random weights, for load tests and benchmarks.

    Batch norm's statistics come from one pass over noise: without them the activations of an
    untrained ResNet152 grow past any use.
    """
    torch.manual_seed(recipe.seed)
    networks: dict[str, nn.Module] = {SEGMENT: LungUNet().eval()}
    for name in recipe.served:
        backbone = make_backbone(name, **recipe.design_of(name))
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # a plain average over what it sees
        with torch.no_grad():
            backbone.train()(torch.rand(4, 1, 128, 128), torch.rand(4, 1, 128, 128))
        networks[name] = backbone.eval()
    return networks


def build(
    networks: dict[str, nn.Module],
    recipe: Recipe,
    directory: Path,
    films: FloatArray,
    model_name: str | None = None,
    calibration: ServedCalibration | None = None,
    starting: Mapping[str, Origin] | None = None,
    weights: Weights = "fp16",
    evidence: str = "",
) -> Agreement:
    """Write a whole model repository and compare its graphs with torch.

    Args:
        networks: `segment` and every member of the recipe.
        recipe: names, sizes, notice.
        directory: the model repository; made if need be, its graphs replaced.
        films: float32 [n, 1, S, S] in 0..1, what parity is measured on.
        model_name: what the ensemble calls itself; the recipe's name by default.
        calibration: its temperatures become constants of `average`, its point the threshold.
        starting: from `starting_weights`; their licences go into the graphs' metadata and the
            repository's LICENSE-weights.md.
        weights: how the members' are stored; the lung network's stay fp16, for it is small and its
            map is every member's input.
        evidence: from `evidence_in_words`; follows the recipe's notice, wherever that is shown.

    Raises:
        ExportError: a graph differs from torch by more than 1e-4 in probability.
    """
    metadata = {
        "preprocessing_digest": recipe.spec.digest,
        "recipe": recipe.name,
        "recipe_digest": recipe.digest,
    }
    repository = RepositorySpec(
        model_name=model_name or recipe.name,
        preprocessing=recipe.spec,
        labels=recipe.labels,
        threshold=0.5 if calibration is None else calibration.threshold,
        notice=" ".join((*recipe.notice.split(), *evidence.split())),
        calibration=calibration,
        members=recipe.served,
        weights=weights,
        finding=recipe.finding,
    )
    stored: dict[str, Weights] = dict.fromkeys(repository.members, weights)
    plain = [1.0] * len(repository.members)
    average = Average(plain if calibration is None else calibration.temperatures)
    modules = {**networks, AVERAGE: average}
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Built beside and moved when it is known to be good: what is served now stays whole.
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".building-") as folder:
        beside = Path(folder)
        files = {name: beside / name / "1" / "model.onnx" for name in repository.graphs}
        for name, file in files.items():
            _logger.info("exporting %s", name)
            facts, module = dict(metadata), modules[name]
            if isinstance(module, Backbone):
                facts |= module.design.layout.metadata
                if module.design.pooling != "average":
                    facts["pooling"] = module.design.pooling
            if starting and name in starting:
                facts["starting_weights"] = str(starting[name])
            if name == AVERAGE and calibration is not None:
                facts["temperatures"] = json.dumps(calibration.temperatures)
            if name in stored and weights != "fp16":
                facts["weights"] = weights
            export_graph(module, repository.edges(name), file, facts, stored.get(name, "fp16"))
        write_repository(repository, beside)
        notices = {name: each.notice for name, each in (starting or {}).items() if each.notice}
        write_licences(beside, directory, notices)
        _logger.info("comparing with torch over %d films", len(films))
        parity = _measure(modules, files, repository, films)
        write_whole(beside / "parity.json", json.dumps(asdict(parity), indent=2) + "\n")
        worst = max(parity.probability, *parity.members.values())
        if not worst <= PARITY_PROBABILITY:
            raise ExportError(
                f"ONNX differs from torch by {worst:.1e} in probability, more than "
                f"{PARITY_PROBABILITY}. {directory} is as it was; please report this."
            )
        _move(beside, directory)
    return parity


def _move(beside: Path, directory: Path) -> None:
    """Put each file in its place; remove plans, passports, int8 graphs and the gate's reference.

    They are of the graphs before. So are the folders of members that are none any more.
    """
    withdraw(directory)
    (directory / REFERENCE).unlink(missing_ok=True)
    before = _graphs_before(directory)
    for path in sorted(path for path in beside.rglob("*") if path.is_file()):
        target = directory / path.relative_to(beside)
        target.parent.mkdir(parents=True, exist_ok=True)
        take_place(path, target)
    for name in before:
        if not (beside / name).is_dir():
            shutil.rmtree(directory / name, ignore_errors=True)
    for name in (PLAN, PASSPORT, "model.int8.*"):
        for path in directory.glob(f"*/1/{name}"):
            path.unlink()


def _graphs_before(directory: Path) -> tuple[str, ...]:
    try:
        return read_repository(directory)[0].graphs
    except RepositoryError:  # there was none, or nobody knows what it was
        return ()


def _measure(
    modules: dict[str, nn.Module],
    files: dict[str, Path],
    repository: RepositorySpec,
    films: FloatArray,
) -> Agreement:
    """Run the whole ensemble film by film on both sides, each on its own lung maps.

    Args:
        modules: graph → its network.
        files: graph → its ONNX file.
        repository: what they are served as.
        films: float32 [n, 1, S, S] in 0..1.
    """
    members = repository.members
    rounded = {
        name: round_weights(module, repository.weights if name in members else "fp16")
        for name, module in modules.items()
    }

    def judged(graphs: Graphs) -> list[Arrays]:
        ensemble = Ensemble(graphs, members)
        return [ensemble.judge(film[None]) for film in films]

    ours = judged(TorchGraphs(rounded))
    theirs = judged(OnnxGraphs(files))
    unrounded = judged(TorchGraphs(modules))

    def worst(key: str, one: list[Arrays] = ours, other: list[Arrays] = theirs) -> FloatArray:
        pairs = zip(one, other, strict=True)
        return np.asarray(np.max([np.abs(a[key] - b[key]) for a, b in pairs], axis=0))

    scale = max(float(np.abs(film["EMBEDDING"]).max()) for film in ours)
    each = worst("MEMBERS")[0]
    return Agreement(
        films=len(films),
        lungs=float(worst("LUNGS").max()),
        members={name: float(each[i]) for i, name in enumerate(members)},
        probability=float(worst("PROBABILITY").max()),
        embedding=float(worst("EMBEDDING").max()) / max(scale, 1e-12),
        heatmap=float(worst("HEATMAP").max()),
        rounding=float(worst("PROBABILITY", unrounded, ours).max()),
        weights=repository.weights,
    )
