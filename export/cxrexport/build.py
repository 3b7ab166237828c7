"""Run → model repository: every graph, its configuration, and the parity of both."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxrclient.files import write_whole
from cxrclient.serving import PASSPORT, PLAN
from cxrexport.errors import ExportError
from cxrexport.networks import BACKBONES, Average, LungUNet, make_backbone
from cxrexport.onnx import (
    GraphSpec,
    average_spec,
    backbone_spec,
    export_graph,
    round_weights,
    segment_spec,
)
from cxrexport.repository import REFERENCE, RepositorySpec, ServedCalibration, write_repository
from cxrexport.repository.quantised import withdraw
from cxrexport.training.recipe import Recipe
from cxrexport.training.run import SERVED, Run

__all__ = ["Parity", "build", "random_networks", "trained_networks"]

FloatArray = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[Any]]

_logger = logging.getLogger(__name__)

PARITY_PROBABILITY = 1e-4
"""Largest difference of a probability between torch and ONNX; the project's own bar."""


@dataclass(frozen=True)
class Parity:
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
    """Of the ensemble's probability, by rounding the weights to fp16: torch against torch."""


def trained_networks(run: Run) -> dict[str, nn.Module]:
    """Load a run's networks, all of them.

    Raises:
        CheckpointError: one is missing, damaged or of another recipe.
    """
    return {name: run.load(name) for name in SERVED}


def random_networks(recipe: Recipe) -> dict[str, nn.Module]:
    """Networks of a recipe's size with random weights, for load tests and benchmarks.

    Batch norm's statistics come from one pass over noise: without them the activations of an
    untrained ResNet152 grow past any use.
    """
    torch.manual_seed(recipe.seed)
    networks: dict[str, nn.Module] = {"segment": LungUNet().eval()}
    for name in BACKBONES:
        backbone = make_backbone(name, recipe.width_of(name))
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
) -> Parity:
    """Write a whole model repository and compare its graphs with torch.

    Args:
        networks: `segment` and every backbone.
        recipe: names, sizes, notice.
        directory: the model repository; made if need be, its graphs replaced.
        films: float32 [n, 1, S, S] in 0..1, what parity is measured on.
        model_name: what the ensemble calls itself; the recipe's name by default.
        calibration: its temperatures become constants of `average`, its point the threshold.

    Raises:
        ExportError: a graph differs from torch by more than 1e-4 in probability.
    """
    size_px = recipe.spec.size_px
    metadata = {
        "preprocessing_digest": recipe.spec.digest,
        "recipe": recipe.name,
        "recipe_digest": recipe.digest,
    }
    average = Average() if calibration is None else Average(calibration.temperatures)
    graphs: dict[str, tuple[nn.Module, GraphSpec]] = {
        "segment": (networks["segment"], segment_spec(size_px)),
        **{name: (networks[name], backbone_spec(size_px)) for name in BACKBONES},
        "average": (average, average_spec(size_px)),
    }
    repository = RepositorySpec(
        model_name=model_name or recipe.name,
        preprocessing=recipe.spec,
        labels=recipe.labels,
        threshold=0.5 if calibration is None else calibration.threshold,
        notice=" ".join(recipe.notice.split()),
        calibration=calibration,
    )
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Built beside and moved when it is known to be good: what is served now stays whole.
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".building-") as folder:
        beside = Path(folder)
        for name, (module, spec) in graphs.items():
            _logger.info("exporting %s", name)
            facts = dict(metadata)
            if name == "average" and calibration is not None:
                facts["temperatures"] = json.dumps(calibration.temperatures)
            export_graph(module, spec, beside / name / "1" / "model.onnx", facts)
        write_repository(repository, beside)
        parity = _measure({name: module for name, (module, _) in graphs.items()}, beside, films)
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

    They are of the graphs before.
    """
    withdraw(directory)
    (directory / REFERENCE).unlink(missing_ok=True)
    for path in sorted(path for path in beside.rglob("*") if path.is_file()):
        target = directory / path.relative_to(beside)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    for name in (PLAN, PASSPORT, "model.int8.*"):
        for path in directory.glob(f"*/1/{name}"):
            path.unlink()


def _measure(modules: dict[str, nn.Module], directory: Path, films: FloatArray) -> Parity:
    """Run the whole chain film by film on both sides, each on its own lung maps."""
    import onnxruntime

    rounded = {name: round_weights(module) for name, module in modules.items()}
    sessions = {
        name: onnxruntime.InferenceSession(
            directory / name / "1" / "model.onnx", providers=["CPUExecutionProvider"]
        )
        for name in modules
    }
    ours = [_chain_torch(rounded, film[None]) for film in films]
    theirs = [_chain_onnx(sessions, film[None]) for film in films]

    def worst(key: str) -> FloatArray:
        pairs = zip(ours, theirs, strict=True)
        return np.asarray(np.max([np.abs(a[key] - b[key]) for a, b in pairs], axis=0))

    scale = max(float(np.abs(film["EMBEDDING"]).max()) for film in ours)
    members = worst("MEMBERS")[0]
    return Parity(
        films=len(films),
        lungs=float(worst("LUNGS").max()),
        members={name: float(members[i]) for i, name in enumerate(BACKBONES)},
        probability=float(worst("PROBABILITY").max()),
        embedding=float(worst("EMBEDDING").max()) / max(scale, 1e-12),
        heatmap=float(worst("HEATMAP").max()),
        rounding=max(
            float(np.abs(_chain_torch(modules, film[None])["PROBABILITY"] - ours_film).max())
            for film, ours_film in zip(films, (o["PROBABILITY"] for o in ours), strict=True)
        ),
    )


def _chain_torch(modules: dict[str, nn.Module], film: FloatArray) -> Arrays:
    with torch.inference_mode():
        tensor = torch.from_numpy(film)
        lungs = modules["segment"](tensor)
        out = {name: modules[name](tensor, lungs) for name in BACKBONES}
        averaged = modules["average"](
            *(out[name].logits for name in BACKBONES), *(out[name].cam for name in BACKBONES)
        )
    result = dict(zip(average_spec(32).outputs, averaged, strict=True))
    result |= {"LUNGS": lungs, "EMBEDDING": out["resnet50"].embedding}
    return {key: value.numpy() for key, value in result.items()}


def _chain_onnx(sessions: dict[str, object], film: FloatArray) -> Arrays:
    def run(name: str, spec: GraphSpec, inputs: Arrays) -> Arrays:
        values = sessions[name].run(list(spec.outputs), inputs)  # type: ignore[attr-defined]
        return dict(zip(spec.outputs, values, strict=True))

    size_px = film.shape[-1]
    lungs = run("segment", segment_spec(size_px), {"CXR": film})
    out = {name: run(name, backbone_spec(size_px), {"CXR": film, **lungs}) for name in BACKBONES}
    inputs = {
        f"{tensor}_{name.upper()}": out[name][tensor]
        for tensor in ("LOGITS", "CAM")
        for name in BACKBONES
    }
    averaged = run("average", average_spec(size_px), inputs)
    return {**averaged, **lungs, "EMBEDDING": out["resnet50"]["EMBEDDING"]}
