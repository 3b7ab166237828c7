"""The starter's networks, and films that they tell apart by a wide margin."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import openvino
import pytest

from cxrexport.ensemble import DEFAULT_MEMBERS, Ensemble, OpenvinoGraphs
from cxrexport.manifest import read_manifest, write_manifest
from cxrexport.preprocessing import preprocess
from cxrexport.quantise import quantise_repository
from cxrexport.repository import REFERENCE, graph_files, read_repository, write_repository

STARTER = Path(__file__).parents[3] / "model_repository"


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The committed repository with VGG16 in place of every backbone: its graph loads quickest."""
    directory = Path(shutil.copytree(STARTER, tmp_path_factory.mktemp("whole") / "repository"))
    for name in DEFAULT_MEMBERS:
        if name != "vgg16":
            shutil.copy2(directory / "vgg16/1/model.onnx", directory / name / "1")
    (directory / REFERENCE).unlink()  # the gate's, of the starter's own networks
    spec = dataclasses.replace(read_repository(directory)[0], reference=None)
    write_repository(spec, directory)
    return directory


@pytest.fixture(scope="session")
def quantised(whole, manifest, tmp_path_factory):
    """The same with an int8 variant, whose graphs are in f32: NNCF is left out."""
    output = tmp_path_factory.mktemp("quantised") / "repository"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxrexport.quantise.write.quantise_graph", _save)
        made = quantise_repository(whole, manifest, films=4, output=output)
    return output, made


@pytest.fixture
def repository(whole, tmp_path):
    """A copy to change."""
    return Path(shutil.copytree(whole, tmp_path / "repository"))


@pytest.fixture
def quantised_copy(quantised, tmp_path):
    """A copy to change."""
    return Path(shutil.copytree(quantised[0], tmp_path / "repository"))


@pytest.fixture(scope="session")
def manifest(phantom_rows, whole, tmp_path_factory):
    """Four films to calibrate with, and four whose labels are what the networks say in f32.

    Drawn lungs have no disease, so the truth is chosen: the two films with the highest
    probabilities and the two with the lowest. Their AUC is 1, and not by a hair.
    """
    spec = read_repository(whole)[0]
    rows = [dataclasses.replace(row, patient_id=f"p{n}") for n, row in enumerate(phantom_rows)]
    ensemble = Ensemble(OpenvinoGraphs(graph_files(whole, spec)), spec.members)
    scores = []
    for row in rows:
        film = preprocess(row.image.read_bytes(), spec.preprocessing).image[None]
        scores.append(ensemble.judge(film)["PROBABILITY"].item())
    order = np.argsort(scores)
    assert scores[order[-2]] - scores[order[1]] > 0.1
    chosen = [
        *(dataclasses.replace(rows[n], label="non-covid", split="test") for n in order[:2]),
        *(dataclasses.replace(rows[n], label="covid", split="test") for n in order[-2:]),
        *(dataclasses.replace(rows[n], split="train") for n in order[10:14]),
    ]
    path = tmp_path_factory.mktemp("manifest") / "films.csv"
    write_manifest(chosen, path)
    assert read_manifest(path, labels=spec.labels)
    return path


@pytest.fixture
def one_class(manifest, tmp_path):
    """The same, judged on films of one class."""
    rows = [row for row in read_manifest(manifest) if row.split == "train" or row.label == "covid"]
    write_manifest(rows, tmp_path / "one.csv")
    return tmp_path / "one.csv"


def _save(source, target, films, change=lambda graph: graph):
    assert len(films) > 0
    openvino.save_model(change(openvino.Core().read_model(source)), target, compress_to_fp16=False)


@pytest.fixture
def unquantised(monkeypatch):
    """In place of NNCF, for what does not depend on it: the graph as it is, in f32."""
    monkeypatch.setattr("cxrexport.quantise.write.quantise_graph", _save)


def _turned(graph):
    """The graph with its two logits exchanged."""
    from openvino import opset13 as ops

    logits = next(port for port in graph.outputs if "LOGITS" in port.get_names())
    before = logits.get_node().input_value(0)
    turned = ops.gather(before, ops.constant([1, 0]), ops.constant(1))
    before.set_names({"before"})
    turned.output(0).set_names({"LOGITS"})
    logits.get_node().input(0).replace_source_output(turned.output(0))
    graph.validate_nodes_and_infer_types()
    return graph


@pytest.fixture
def ruined(monkeypatch):
    """In place of NNCF: graphs that call each film the other class."""
    monkeypatch.setattr(
        "cxrexport.quantise.write.quantise_graph", lambda s, t, f: _save(s, t, f, _turned)
    )
