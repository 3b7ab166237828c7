"""The layout that weights learnt in goes with them: into the run, out of it, into the next."""

from __future__ import annotations

import json

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cxrexport.errors import CheckpointError
from cxrexport.networks import Layout, make_backbone
from cxrexport.training.classify import start_backbone
from cxrexport.training.run.folder import Run

YAHOO = Layout(stem=16, stride="first", pool="end")


def design(run: Run) -> Layout:
    return run.load("resnet50", unfinished=True).design.layout


def metadata(run: Run) -> dict[str, str]:
    with safe_open(run.folder("resnet50").checkpoint, framework="pt") as file:
        return file.metadata()


@pytest.fixture
def weights(tmp_path):
    """Starting weights that say their layout."""
    backbone = make_backbone("resnet50", 0.125, layout=YAHOO)
    features = {k: v for k, v in backbone.state_dict().items() if not k.startswith("head.")}
    save_file(features, tmp_path / "half.safetensors", metadata=YAHOO.metadata)
    return tmp_path / "half.safetensors"


@pytest.fixture
def begun(weights, still, tmp_path) -> Run:
    """A run whose checkpoint has that layout."""
    run = Run(tmp_path / "run", still())
    run.save("resnet50", start_backbone("resnet50", run, str(weights)), {"epoch": "1"})
    return run


def test_a_run_keeps_the_layout_of_its_starting_weights(begun):
    assert design(begun) == YAHOO
    assert json.loads(metadata(begun)["layout"]) == YAHOO.to_dict()


def test_a_run_that_starts_from_it_takes_the_layout_over(begun, still, tmp_path):
    begun.folder("resnet50").metrics.write_text("{}")
    run = Run(tmp_path / "next", still())
    assert start_backbone("resnet50", run, init=begun.path).design.layout == YAHOO


def test_torchvisions_layout_is_not_written(still, tmp_path):
    run = Run(tmp_path / "run", still())
    run.save("resnet50", run.make("resnet50"), {"epoch": "1"})
    assert design(run) == Layout()
    assert "layout" not in metadata(run)


def test_a_checkpoint_of_an_unknown_layout_is_refused(begun):
    path, known = begun.folder("resnet50").checkpoint, metadata(begun)
    save_file(load_file(path), path, metadata={**known, "layout": '{"stride": "third"}'})
    with pytest.raises(CheckpointError, match="stride is first or second, not 'third'"):
        design(begun)


def test_starting_weights_of_an_unknown_layout_are_refused(weights, still, tmp_path):
    save_file(load_file(weights), weights, metadata={"layout": '{"padding": 1}'})
    with pytest.raises(CheckpointError, match="there is no field 'padding'"):
        start_backbone("resnet50", Run(tmp_path / "run", still()), str(weights))
