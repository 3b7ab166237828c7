"""A small study, trained once: recipe, films, and what its command is given."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.phantom import write_phantoms
from drawn_study import RECIPE, arguments


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "drawn.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    return write_phantoms(36, tmp_path_factory.mktemp("drawn"), seed=7, size_px=128)


@pytest.fixture(scope="session")
def study(recipe, manifest, tmp_path_factory):
    """The folder of a study of two splits, two networks and three epochs."""
    output = tmp_path_factory.mktemp("study")
    result = CliRunner().invoke(app, arguments(recipe, manifest, output, "--jobs", "2"))
    assert result.exit_code == 0, result.output
    return output


@pytest.fixture(scope="session")
def metrics(study):
    return json.loads((study / "metrics.json").read_text())
