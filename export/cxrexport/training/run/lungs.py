"""A lung network that is there already: of a run, of a model repository, or the shipped one.

A hospital has films and labels, but hardly ever lung masks. So a lung network may come from
elsewhere. It works at any size; how well it does at another than its own only masks can tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxrclient.files import sha256_of, write_whole
from cxrclient.serving import find_repository
from cxrexport.ensemble import SEGMENT
from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.manifest import FilmRow
from cxrexport.networks import LungUNet
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.training.recipe import Recipe
from cxrexport.training.run.folder import Run, read_json
from cxrexport.training.run.initial import check_preprocessing
from cxrexport.training.run.learnt import films_learnt_from
from cxrexport.training.run.origin import Origin, note_origin, origin_of
from cxrexport.weights import digest_of_tensors, weights_digest

STARTER = "starter"
"""The model repository that the package brings."""


@dataclass(frozen=True)
class _Collection:
    """Films that a known lung network learnt from."""

    films: str
    sources: tuple[str, ...]


_KNOWN = {
    "e6821e43d0f22d2e555faf321c7cc49f3d57f4cad5a748d38fc98b0ddf5021c8": _Collection(
        "422 films of the public collections Montgomery and Shenzhen (docs/model-card.md)",
        ("nlm-montgomery", "nlm-shenzhen"),
    )
}
"""Digest of the weights → what they learnt from; graphs keep no list of films."""


@dataclass(frozen=True, eq=False)
class GivenLungs:
    """A trained lung network from elsewhere.

    Attributes:
        name: for people, for example `repository starter`.
        module: in evaluation mode.
        spec: the preprocessing that it learnt behind.
        sha256: of the checkpoint or the graph that it comes from.
        films: sha256 of the films that it learnt from; None where nobody wrote them down.
        licence: the licence text that lies beside it, Markdown; None where there is none.
    """

    name: str
    module: nn.Module
    spec: PreprocessingSpec
    sha256: str
    films: frozenset[str] | None = None
    licence: str | None = None

    @property
    def digest(self) -> str:
        """Of the weights, as `weights_digest`: the same for a graph and for its checkpoint."""
        return digest_of_tensors(self.module.state_dict())

    @property
    def origin(self) -> Origin:
        """What a run notes of it."""
        notice = None
        if self.licence:
            notice = (
                f"# Lung network\n\nThat of {self.name}, as it is. The licence beside it says:\n\n"
                + re.sub(r"(?m)^#", "##", self.licence).strip()
            )
        return Origin(source=self.name, sha256=self.sha256, notice=notice)

    def check(self, recipe: Recipe) -> None:
        """Find out whether runs of a recipe can take it.

        Raises:
            CheckpointError: it learnt behind a preprocessing that differs in more than the size.
        """
        check_preprocessing(f"The lung network of {self.name}", self.spec, recipe.spec)

    def check_begun(self, run: Run) -> None:
        """Find out whether a run that was begun has no other one.

        Raises:
            RecipeError: it has.
        """
        folder = run.folder(SEGMENT)
        if folder.checkpoint.is_file() and weights_digest(folder.checkpoint) != self.digest:
            raise RecipeError(
                f"{folder.path} holds another lung network than that of {self.name}; give the same "
                "--lungs again, choose another --output, or delete that folder."
            )

    def take(self, run: Run) -> None:
        """Make it the run's lung network, as it is. Raises as `check` and `check_begun`."""
        self.check(run.recipe)
        self.check_begun(run)
        folder = run.folder(SEGMENT)
        if folder.complete:
            return
        note_origin(run, SEGMENT, self.origin)
        run.save(SEGMENT, self.module, {"taken_over": "true"})
        given = {"from": self.name, "sha256": self.sha256, "size_px": self.spec.size_px}
        facts = {"network": SEGMENT, "taken_over": given}
        write_whole(folder.metrics, json.dumps(facts, indent=2) + "\n")

    def note(self, rows: Sequence[FilmRow], size_px: int) -> str:
        """Say what it is, at what size it learnt, and which of these films it may know.

        Args:
            rows: the films that it is used on.
            size_px: at which it is used.
        """
        parts = [_first_words(self.name, self.spec.size_px, size_px)]
        if self.films is not None:
            known = sum(sha256_of(row.image) in self.films for row in rows)
            parts.append(f"it learnt from {known} of these {len(rows)} films")
        else:
            parts += _of_collection(self.digest, rows)
        if not any(row.mask for row in rows):
            parts.append(
                "the manifest has no lung masks, so nothing here says how good its maps are"
            )
        return "; ".join(parts) + "."


def note_of_run(run: Run, rows: Sequence[FilmRow]) -> str | None:
    """Say the same of the lung network that a run took; None where it trained its own.

    Args:
        run: with a complete lung network.
        rows: the films that it is used on.
    """
    folder = run.folder(SEGMENT)
    given = read_json(folder.metrics).get("taken_over", {})
    if "from" not in given:
        return None
    first = _first_words(given["from"], given["size_px"], run.recipe.spec.size_px)
    return "; ".join([first, *_of_collection(weights_digest(folder.checkpoint), rows)]) + "."


def _first_words(name: str, learnt_px: int, used_px: int) -> str:
    words = f"The lung network is that of {name}, not trained here"
    if learnt_px != used_px:
        words += f"; it learnt at {learnt_px} px and is used at {used_px} px"
    return words


def _of_collection(digest: str, rows: Sequence[FilmRow]) -> list[str]:
    if (collection := _KNOWN.get(digest)) is None:
        return ["which films it learnt from is not known"]
    parts = [f"it learnt from {collection.films}"]
    if among := sum(row.source in collection.sources for row in rows):
        parts.append(
            f"{among} of these {len(rows)} films are of those collections, so on them its maps may "
            "be better than elsewhere"
        )
    return parts


def given_lungs(source: str) -> GivenLungs:
    """Load the lung network that `--lungs` names.

    Args:
        source: a run's folder, a model repository's, or the name of a shipped one.

    Raises:
        CheckpointError: nothing of the kind is there, or its lung network is damaged.
        RepositoryError: a repository that cannot be read.
        UsageError: the name is also a folder here.
    """
    path = find_repository(source)
    if (path / "repository.json").is_file():
        return _of_repository(path, source)
    if (path / "recipe.json").is_file():
        run = Run.open(path)
        return GivenLungs(
            name=f"run {path.name}",
            module=run.load(SEGMENT),
            spec=run.recipe.spec,
            sha256=sha256_of(run.folder(SEGMENT).checkpoint),
            films=films_learnt_from(run, [SEGMENT]),
            licence=known.notice if (known := origin_of(run, SEGMENT)) else None,
        )
    raise CheckpointError(
        f"--lungs {source}: there is no run and no model repository; give {STARTER}, the folder of "
        "a run (recipe.json) or of a repository (repository.json)."
    )


def _of_repository(path: Path, source: str) -> GivenLungs:
    from cxrexport.repository import LICENCES, graph_files, read_repository

    spec, recorded, _ = read_repository(path)
    graph = graph_files(path, spec)[SEGMENT]
    if not graph.is_file() or sha256_of(graph) != recorded.get(SEGMENT):
        raise CheckpointError(
            f"{graph} is missing or not the recorded one; see `cxrexport check`, or build the "
            "repository again."
        )
    name = source if source == STARTER else path.name
    licence = path / LICENCES
    return GivenLungs(
        f"repository {name}",
        lungs_of_graph(graph),
        spec.preprocessing,
        sha256_of(graph),
        licence=licence.read_text(encoding="utf-8") if licence.is_file() else None,
    )


def lungs_of_graph(graph: Path) -> LungUNet:
    """Read a lung network's weights back from the graph that it was exported to.

    Convolutions and PReLUs stand in the graph in the order in which the network runs them.

    Args:
        graph: `segment/1/model.onnx`; weights may be stored in any way that the graph itself
            turns into numbers, such as fp16 and Cast.

    Raises:
        CheckpointError: it is no graph of this network.
    """
    from google.protobuf.message import DecodeError

    module = LungUNet()
    layers = [
        m for m in module.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.PReLU)
    ]
    try:
        found = list(_weights(graph))
    except (OSError, DecodeError) as error:
        raise CheckpointError(f"{graph} cannot be read as a graph ({error}).") from error
    expected = [[list(weight.shape) for weight in layer.parameters()] for layer in layers]
    there = [[list(weight.shape) for weight in weights] for weights in found]
    if there != expected:
        raise CheckpointError(
            f"{graph} is no graph of this package's lung network (its layers differ); give another "
            "repository, or train a lung network."
        )
    with torch.no_grad():
        for layer, weights in zip(layers, found, strict=True):
            for parameter, value in zip(layer.parameters(), weights, strict=True):
                parameter.copy_(torch.from_numpy(value))
    return module.eval()


def _weights(graph: Path) -> Iterator[list[npt.NDArray[np.float32]]]:
    """Each convolution's weight and bias and each PReLU's slope, in the graph's order."""
    import onnx
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    content = onnx.load(graph).graph
    known = {each.name: numpy_helper.to_array(each) for each in content.initializer}
    for node in content.node:
        if node.op_type in ("Conv", "ConvTranspose", "PRelu"):
            weights = [known[name] for name in node.input[1:] if name in known]
            if node.op_type == "PRelu":
                weights = [weight.reshape(-1) for weight in weights]
            yield [np.array(weight, dtype=np.float32) for weight in weights]
        elif node.input and all(name in known for name in node.input):
            values = ReferenceEvaluator(node).run(None, {name: known[name] for name in node.input})
            known |= dict(zip(node.output, values, strict=True))
