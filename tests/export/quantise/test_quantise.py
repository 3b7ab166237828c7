"""`cxrexport quantise` on the starter's networks: kept, refused, whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from typer.testing import CliRunner

from cxrexport.build import _move
from cxrexport.cli.app import app
from cxrexport.datasets import read_covid_cxr
from cxrexport.ensemble import DEFAULT_MEMBERS, Ensemble, OpenvinoGraphs
from cxrexport.errors import QuantisationError
from cxrexport.manifest import read_manifest, write_manifest
from cxrexport.manifest.preprocessed import preprocessed
from cxrexport.quantise import quantise_repository
from cxrexport.quantise.graphs import quantise_graph
from cxrexport.repository import check_repository, graph_files, read_repository
from cxrexport.repository.configs import parse


def content(directory):
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


# --- one real graph --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vgg16(manifest, tmp_path_factory):
    """VGG16 as NNCF quantises it, and two films."""
    starter = Path(__file__).parents[3] / "model_repository"
    spec = read_repository(starter)[0]
    rows = [row for row in read_manifest(manifest) if row.split == "train"]
    files = graph_files(starter, spec)
    segment = Ensemble(OpenvinoGraphs({"segment": files["segment"]}), spec.members)
    films = [
        {"CXR": film, "LUNGS": segment.lungs(film).copy()}
        for film in preprocessed(rows, spec.preprocessing, lambda: None)
    ]
    target = tmp_path_factory.mktemp("int8") / "vgg16.xml"
    quantise_graph(files["vgg16"], target, films)
    return files["vgg16"], target, films


def test_every_convolution_is_int8_and_nothing_of_head_and_grad_cam_is(vgg16):
    graph = openvino.Core().read_model(vgg16[1])
    after: set[str] = set()
    for operation in graph.get_ordered_ops():
        sources = [port.get_source_output().get_node() for port in operation.inputs()]
        kind = operation.get_type_name()
        if kind == "Convolution":
            rounded = sources[0]
            if rounded.get_type_name() == "MaxPool":  # it chooses among what is rounded already
                rounded = rounded.input_value(0).get_node()
            assert rounded.get_type_name() == "FakeQuantize", operation
        if kind == "ReduceMean" or any(node.get_friendly_name() in after for node in sources):
            assert kind != "FakeQuantize", operation
            after.add(operation.get_friendly_name())
    assert {"LOGITS", "EMBEDDING"} <= {name for port in graph.outputs for name in port.get_names()}
    for port in graph.inputs:  # the input is not rounded before it is normalised
        kinds = {target.get_node().get_type_name() for target in port.get_target_inputs()}
        assert "FakeQuantize" not in kinds


def test_weights_have_seven_bits_so_that_no_cpu_saturates(vgg16):
    graph = openvino.Core().read_model(vgg16[1])
    constants = [op for op in graph.get_ops() if op.get_type_name() == "Constant"]
    weights = [op.data for op in constants if op.get_element_type().get_type_name() == "i8"]
    assert len(weights) == 13  # VGG16's convolutions
    assert max(np.abs(w.astype(int)).max() for w in weights) <= 64


def test_an_int8_graph_has_the_edges_of_its_onnx_graph_and_a_free_batch(vgg16):
    source, target, _ = vgg16
    core = openvino.Core()
    onnx, int8 = core.read_model(source), core.read_model(target)
    for ours, theirs in ((int8.inputs, onnx.inputs), (int8.outputs, onnx.outputs)):
        edges = [
            {port.any_name: (port.get_element_type(), port.get_partial_shape()) for port in ports}
            for ports in (ours, theirs)
        ]
        assert edges[0] == edges[1]
    assert int8.inputs[0].get_partial_shape()[0].is_dynamic


def test_an_int8_graph_says_nearly_what_its_onnx_graph_says_and_not_the_same(vgg16):
    source, target, films = vgg16
    f32, int8 = (OpenvinoGraphs({"vgg16": path}) for path in (source, target))
    for film in films:
        ours, theirs = f32.run("vgg16", film), int8.run("vgg16", film)
        difference = np.abs(ours["LOGITS"] - theirs["LOGITS"]).max()
        assert 0 < difference < 1  # of a logit
        a, b = ours["EMBEDDING"][0], theirs["EMBEDDING"][0]
        assert a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) > 0.99


def test_nncf_is_told_not_to_report_its_use():
    program = (
        "from cxrexport.quantise.graphs import require_nncf; require_nncf();"
        "from nncf.telemetry.wrapper import telemetry; print(type(telemetry).__name__)"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, text=True).strip() == "MagicMock"  # NNCF's own stub


# --- the command -----------------------------------------------------------------------------


def run(*options):
    return CliRunner().invoke(app, ["quantise", *map(str, options)])


def test_a_quantised_repository_is_whole_and_records_what_was_done(quantised):
    repository, made = quantised
    assert check_repository(repository) == []
    record = json.loads((repository / "repository.json").read_text())["spec"]["quantised"]
    assert record == json.loads(json.dumps(dataclasses.asdict(made.record)))
    assert (record["calibration_films"], record["judged_films"]) == (4, 4)
    assert (record["auc_f32"], record["auc_int8"], record["labels_changed"]) == (1, 1, 0)
    assert set(record["files"]) == {
        f"{name}/1/model.int8.{kind}" for name in DEFAULT_MEMBERS for kind in ("xml", "bin")
    }
    for name, digest in record["files"].items():
        assert hashlib.sha256((repository / name).read_bytes()).hexdigest() == digest
    report = json.loads((repository / "quantisation.json").read_text())
    assert report["accuracy"]["members_auc_f32"].keys() == set(DEFAULT_MEMBERS)


def test_int8_is_served_for_the_backbones_and_f32_for_the_others(quantised):
    served = {
        path.parts[-3]: parse(path.read_text()).default_model_filename
        for path in quantised[0].glob("*/configs/cpu-int8.pbtxt")
    }
    others = {"segment": "model.onnx", "average": "model.onnx"}
    assert served == {**dict.fromkeys(DEFAULT_MEMBERS, "model.int8.xml"), **others}


def test_a_copy_has_the_other_variants_as_they_are_and_no_engine_of_this_machine(
    repository, manifest, unquantised, tmp_path
):
    before = content(repository)
    (repository / "vgg16" / "1" / "model.plan").write_bytes(b"this machine's")
    result = run(
        *("--repository", repository, "--manifest", manifest, "--films", 1),
        *("--output", tmp_path / "copy"),
    )
    assert result.exit_code == 0, result.stderr
    assert "4 held-out films, 2 positive" in result.stdout
    (repository / "vgg16" / "1" / "model.plan").unlink()
    assert content(repository) == before
    copied = content(tmp_path / "copy")
    assert {name for name in before if copied.get(name) != before[name]} == {"repository.json"}
    assert "vgg16/1/model.plan" not in copied
    assert check_repository(tmp_path / "copy", open_graphs=False) == []


def test_a_place_that_is_taken_is_refused(repository, manifest):
    with pytest.raises(QuantisationError, match="is there already"):
        quantise_repository(repository, manifest, output=repository)


def test_int8_that_lowers_the_auc_is_refused_and_nothing_is_written(repository, manifest, ruined):
    before = content(repository)
    result = run("--repository", repository, "--manifest", manifest, "--films", 1)
    assert result.exit_code == 1
    assert "QUANTISATION: int8 lowers the AUC from 1.0000 to 0.0000" in result.stderr
    assert "AUC, ensemble" in result.stdout  # the report is shown all the same
    assert content(repository) == before
    assert [path.name for path in repository.parent.iterdir()] == [repository.name]


def test_films_of_one_class_judge_nothing(repository, one_class):
    before = content(repository)
    with pytest.raises(QuantisationError, match=r"all 2 films .* are 'covid'.*--accept-unjudged"):
        quantise_repository(repository, one_class, films=1)
    assert content(repository) == before


def test_int8_that_nothing_judged_can_be_accepted_and_says_so(repository, one_class, unquantised):
    options = ("--repository", repository, "--manifest", one_class, "--films", 1)
    result = run(*options, "--accept-unjudged")
    assert result.exit_code == 0, result.stderr
    assert "Not judged" in result.stderr
    record = read_repository(repository)[0].quantised
    assert record is not None
    assert (record.auc_f32, record.judged_films) == (None, 2)
    assert check_repository(repository, open_graphs=False) == []


def test_a_repository_that_is_not_whole_is_not_quantised(repository, manifest):
    with (repository / "vgg16" / "1" / "model.onnx").open("ab") as graph:
        graph.write(b" ")
    result = run("--repository", repository, "--manifest", manifest)
    assert result.exit_code == 1
    assert "REPOSITORY: " in result.stderr
    assert "vgg16/1/model.onnx has sha256" in result.stderr


def test_building_again_takes_the_int8_variant_away(quantised_copy, whole, tmp_path):
    new = Path(shutil.copytree(whole, tmp_path / "new"))
    _move(new, quantised_copy)
    assert check_repository(quantised_copy, open_graphs=False) == []
    assert not list(quantised_copy.glob("*/1/model.int8.*"))


DAMAGE = {
    "another file": (
        lambda r: (r / "vgg16/1/model.int8.bin").write_bytes(b"others"),
        "vgg16/1/model.int8.bin",
        "has sha256",
    ),
    "a missing file": (
        lambda r: (r / "vgg16/1/model.int8.xml").unlink(),
        "vgg16/1/model.int8.xml",
        "missing",
    ),
    "a missing configuration": (
        lambda r: (r / "segment/configs/cpu-int8.pbtxt").unlink(),
        "segment/configs/cpu-int8.pbtxt",
        "missing",
    ),
    "a graph that nobody recorded": (
        lambda r: (r / "segment/1/model.int8.xml").write_bytes(b"<net/>"),
        "segment/1/model.int8.xml",
        "not recorded",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_check_finds_what_is_wrong_with_the_int8_variant(quantised_copy, damage):
    act, file, words = DAMAGE[damage]
    act(quantised_copy)
    (problem,) = check_repository(quantised_copy, open_graphs=False)
    assert (problem.file, words in problem.what) == (file, True), problem


def test_int8_made_from_other_graphs_is_found(quantised_copy):
    path = quantised_copy / "repository.json"
    text = path.read_text()
    record = json.loads(text)["spec"]["quantised"]
    path.write_text(text.replace(record["model_digest"], "0" * 64, 1))
    problems = check_repository(quantised_copy, open_graphs=False)
    assert {p.file for p in problems} == set(record["files"])
    assert "other graphs" in problems[0].what


def test_quantising_again_mends_a_damaged_variant(quantised_copy, manifest, unquantised):
    (quantised_copy / "vgg16/1/model.int8.bin").write_bytes(b"others")
    quantise_repository(quantised_copy, manifest, films=1)
    assert check_repository(quantised_copy, open_graphs=False) == []


# --- disks that fill up, and kills -----------------------------------------------------------


def test_a_disk_that_fills_up_leaves_the_repository_as_it_was(repository, manifest):
    before = content(repository)
    program = f"""
import resource, signal
from pathlib import Path
from cxrexport.quantise import quantise_repository
# The kernel lets no file grow beyond 1 MB: the weights of a graph are larger.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
quantise_repository(Path({str(repository)!r}), Path({str(manifest)!r}), films=1)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "QuantisationError: QUANTISATION: " in result.stderr.splitlines()[-1], result.stderr
    assert content(repository) == before
    assert [path.name for path in repository.parent.iterdir()] == [repository.name]


@pytest.mark.parametrize("moves", [0, 5, 9, 12])
def test_a_kill_between_two_files_leaves_no_int8_that_a_server_would_take(
    repository, quantised, tmp_path, moves
):
    beside = Path(shutil.copytree(quantised[0], tmp_path / "beside"))
    program = f"""
import os, signal
from pathlib import Path
from cxrexport.quantise.write import _place
from cxrexport.repository import read_repository
rename, left = Path.replace, [{moves}]
def replace(self, target):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return rename(self, target)
Path.replace = replace
beside = Path({str(beside)!r})
_place(beside, Path({str(repository)!r}), read_repository(beside)[0])
"""
    result = subprocess.run([sys.executable, "-c", program], check=False)
    assert result.returncode == -signal.SIGKILL
    served = list(repository.glob("*/configs/cpu-int8.pbtxt"))
    assert len(served) < 6  # `cxrclient serve --precision int8` wants all, and refuses
    problems = check_repository(repository, open_graphs=False)
    assert all("int8" in problem.file for problem in problems), problems
    assert bool(problems) == (moves > 0)


@pytest.mark.slow
def test_the_starter_in_int8_is_within_the_bar_on_real_films(tmp_path, model_repository):
    """All four backbones, NNCF, films of covid-cxr: two minutes on two quiet cores."""
    films = Path(__file__).parents[4] / "shared" / "data" / "covid-cxr"
    if not films.is_dir():
        pytest.skip("../shared/data/covid-cxr is not there")
    write_manifest(read_covid_cxr(films)[::6], tmp_path / "films.csv")
    output = tmp_path / "int8"
    made = quantise_repository(model_repository, tmp_path / "films.csv", films=40, output=output)
    assert check_repository(output) == []
    fall = made.accuracy.auc_fall
    assert fall is not None
    assert fall <= 0.005
    assert made.accuracy.largest_difference < 0.15
    assert made.accuracy.embedding_cosine_min > 0.95
