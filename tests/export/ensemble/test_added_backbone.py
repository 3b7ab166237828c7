"""CONTRIBUTING tells the truth: a backbone is one class and one line, and is served like others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import cxrexport
from cxrclient import CxrClient
from cxrclient.serving import EmbeddedServer
from cxrexport.cli.app import app
from cxrexport.ensemble import DEFAULT_MEMBERS, Ensemble, OpenvinoGraphs
from cxrexport.errors import RecipeError
from cxrexport.preprocessing import preprocess
from cxrexport.repository import graph_files, read_repository
from cxrexport.training.recipe import load_recipe

CLASS = '''
"""Five convolutions: the smallest backbone that halves the image five times."""

from torch import nn

from cxrexport.networks.backbones import Backbone, scaled
from cxrexport.networks.layout import Design


class TinyBackbone(Backbone):
    """One convolution for each halving."""

    def __init__(self, width: float, design: Design) -> None:
        channels = [3, *(scaled(planes, width) for planes in (64, 64, 64, 64, 64))]
        super().__init__(channels, design)
        layers: list[nn.Module] = []
        for before, after in zip(channels, channels[1:]):
            halving = nn.Conv2d(before, after, 3, stride=2, padding=1)
            layers.append(nn.Sequential(halving, nn.ReLU()))
        self.features = nn.Sequential(*layers)

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """See `Backbone.parts`."""
        return tuple(self.features)
'''
RECIPE = """
name: added
negative: normal
positive: tb
preprocessing: {{size_px: 64}}
width: 0.125
members: [{members}]
segment: &schedule
  {{epochs: 1, batch_size: 4, learning_rate: 1.0e-3, learning_rate_decay: 1.0, weight_decay: 0.0}}
classify: *schedule
notice: Drawn for a test.
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the exporter with one more backbone: one class, and one line that names it."""
    folder = tmp_path_factory.mktemp("copy")
    package = Path(cxrexport.__file__).parent
    shutil.copytree(package, folder / "cxrexport", ignore=shutil.ignore_patterns("__pycache__"))
    networks = folder / "cxrexport" / "networks"
    (networks / "tiny.py").write_text(CLASS.lstrip())
    table = networks / "architectures.py"
    line = '    "densenet121": DenseNet121Backbone,\n'
    assert table.read_text().count(line) == 1
    imported = "from cxrexport.networks.tiny import TinyBackbone\n\n__all__"
    text = table.read_text().replace(line, line + '    "tiny": TinyBackbone,\n')
    table.write_text(text.replace("\n__all__", imported, 1))
    return folder


IN_COPY = """
import json, sys
from typer.testing import CliRunner
from cxrexport.cli.app import app

told = [CliRunner().invoke(app, command) for command in json.load(sys.stdin)]
with open(sys.argv[1], "w") as answers:
    json.dump([[result.exit_code, result.output] for result in told], answers)
"""


def in_copy(copy: Path, folder: Path, *commands: list[object]) -> list[tuple[int, str]]:
    """Exit codes and words of the copy's `cxrexport`: one process, since each loads torch first."""
    answers = folder / "answers.json"
    subprocess.run(
        [sys.executable, "-c", IN_COPY, answers],
        env={**os.environ, "PYTHONPATH": str(copy)},
        input=json.dumps([[str(word) for word in command] for command in commands]),
        text=True,
        check=True,
    )
    return [(code, words) for code, words in json.loads(answers.read_text())]


FIVE = ("tiny", *reversed(DEFAULT_MEMBERS))


class Told(NamedTuple):
    """What the copy built, by its members, and what it says of a training without a manifest."""

    repositories: dict[tuple[str, ...], Path]
    trained: str


@pytest.fixture(scope="module")
def told(copy, tmp_path_factory) -> Told:
    repositories, commands = {}, []
    for members in (("tiny",), FIVE):
        folder = tmp_path_factory.mktemp("built")
        recipe, repository = folder / "recipe.yaml", folder / "repository"
        recipe.write_text(RECIPE.format(members=", ".join(members)))
        build = ["build", "--random-weights", "--recipe", recipe, "--films", 2]
        commands += [[*build, "--repository", repository], ["check", "--repository", repository]]
        repositories[members] = repository
    recipe = folder / "film.yaml"
    recipe.write_text(RECIPE.format(members="tiny") + "input: film\n")
    train = ["train", "tiny", "--recipe", recipe, "--manifest", folder / "none.csv"]
    *built, trained = in_copy(copy, folder, *commands, [*train, "--output", folder / "run"])
    for code, words in built:
        assert code == 0, words
    return Told(repositories, trained[1])


def require_served_as_computed_here(repository: Path, film: np.ndarray, embedder: str) -> None:
    """Serve a repository, predict a film, and compare with the same graphs in this process."""
    spec, _, digest = read_repository(repository)
    png = bytes(cv2.imencode(".png", film * 16)[1])
    with EmbeddedServer(repository, device="cpu") as server, CxrClient(server.grpc_address) as cxr:
        served = cxr.predict(png, maps=True)
        assert cxr.model.members == spec.members
        assert cxr.model.digest == digest
    graphs = OpenvinoGraphs(graph_files(repository, spec))
    image = preprocess(png, spec.preprocessing).image[None]
    here = Ensemble(graphs, spec.members).judge(image)
    assert list(served.members) == list(spec.members)
    np.testing.assert_allclose(list(served.members.values()), here["MEMBERS"][0], atol=1e-5)
    assert served.probability == pytest.approx(here["PROBABILITY"].item(), abs=1e-5)
    assert served.votes == here["VOTES"].item()
    np.testing.assert_allclose(served.heatmap, here["HEATMAP"][0], atol=1e-3)
    maps = {"CXR": image, "LUNGS": here["LUNGS"]}
    own = graphs.run(embedder, maps)["EMBEDDING"][0]
    scale = max(1.0, float(np.abs(own).max()))
    np.testing.assert_allclose(served.embedding, own, atol=1e-4 * scale)


def test_one_member_alone_is_built_and_served(told, drawn_film):
    repository = told.repositories["tiny",]
    assert read_repository(repository)[0].embedder == "tiny"
    require_served_as_computed_here(repository, drawn_film(), "tiny")


def test_a_fifth_backbone_is_built_and_served_in_any_order(told, drawn_film):
    repository = told.repositories[FIVE]
    parity = json.loads((repository / "parity.json").read_text())
    assert list(parity["members"]) == list(FIVE)
    require_served_as_computed_here(repository, drawn_film(), "resnet50")


def test_it_can_be_trained_by_its_name(told):
    assert "none.csv" in told.trained


def test_without_it_its_name_is_refused_with_those_that_can_be_trained(tmp_path):
    options = ["--manifest", str(tmp_path / "none.csv"), "--output", str(tmp_path / "run")]
    refused = CliRunner().invoke(app, ["train", "tiny", *options])
    assert refused.exit_code == 2
    assert "densenet121" in refused.output


def test_a_recipe_may_name_only_members_that_there_are(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(members="vgg16, tiny"))
    with pytest.raises(RecipeError, match="members: there is no backbone 'tiny'"):
        load_recipe(str(recipe))
