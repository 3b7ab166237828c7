"""`cxrexport build` writes a whole repository, and says how far its graphs are from torch."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from itertools import combinations

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from cxrclient.serving.embedded import EmbeddedServer
from cxrclient.wire.prediction import EnsembleInfo
from cxrexport.build import _move, build, random_networks
from cxrexport.cli.app import app
from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.errors import ExportError
from cxrexport.evaluation.calibration.judged import Calibration, OperatingPoint
from cxrexport.evaluation.calibration.of_run import store_calibration
from cxrexport.manifest import read_manifest
from cxrexport.phantom import write_phantoms
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.repository import (
    ENSEMBLE,
    RepositorySpec,
    check_repository,
    read_repository,
    write_repository,
)
from cxrexport.repository.configs import parse
from cxrexport.training.run import Origin
from cxrexport.training.run.folder import Run
from cxrexport.weights import weights_digest

GRAPHS = graphs_of(DEFAULT_MEMBERS)


@pytest.fixture(scope="module")
def repository(built):
    return built.repository


def test_the_parity_of_a_built_repository_is_said(built):
    assert "Parity over 3 films" in built.said


def test_a_built_repository_passes_its_own_check(repository):
    result = CliRunner().invoke(app, ["check", "--repository", str(repository)])
    assert result.exit_code == 0, result.output


def test_parity_is_reported_in_full(repository):
    parity = json.loads((repository / "parity.json").read_text())
    assert parity["films"] == 3
    assert set(parity["members"]) == {"resnet34", "resnet50", "resnet152", "vgg16"}
    assert 0 <= parity["probability"] <= 1e-4
    assert 0 < parity["rounding"] < 0.1


def test_the_recipes_labels_and_notice_are_served(repository):
    text = (repository / "cxr" / "config.pbtxt").read_text()
    assert "Drawn for a test." in text
    assert '[\\"normal\\", \\"tb\\"]' in text


@pytest.fixture(scope="module")
def built_server(repository):
    with EmbeddedServer(repository, device="cpu") as server:
        yield server


@pytest.fixture(scope="module")
def png(drawn_film):
    return bytes(cv2.imencode(".png", drawn_film() * 16)[1])


def subsets_of_outputs(repository, sizes):
    names = [tensor.name for tensor in read_repository(repository)[0].edges(ENSEMBLE).outputs]
    return [subset for size in sizes for subset in combinations(names, size)]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_built_ensemble_answers_every_output_every_pair_and_all(
    repository, built_server, png, unequal_subsets, protocol
):
    subsets = subsets_of_outputs(repository, (1, 2, 9))
    assert len(subsets) == 46
    address = getattr(built_server, f"{protocol}_address")
    assert unequal_subsets(protocol, address, png, subsets) == {}


@pytest.mark.slow
def test_a_built_ensemble_answers_all_511_subsets_of_its_outputs(
    repository, built_server, png, unequal_subsets
):
    subsets = subsets_of_outputs(repository, range(1, 10))
    assert len(subsets) == 511
    assert unequal_subsets("grpc", built_server.grpc_address, png, subsets) == {}


@pytest.mark.slow
def test_a_graph_that_differs_from_torch_is_refused(built, tmp_path, monkeypatch):
    """Torch gets other weights than the graph: the parity that is measured must see it."""
    recipe = built.run.recipe
    networks = random_networks(recipe)

    def export_another(module, spec, path, metadata, weights):
        if path.parts[-3] == "vgg16":
            with torch.no_grad():
                module.head.fc3.bias[1] += 1e-2
        real_export(module, spec, path, metadata, weights)
        if path.parts[-3] == "vgg16":
            with torch.no_grad():
                module.head.fc3.bias[1] -= 1e-2

    from cxrexport import build as module_under_test

    real_export = module_under_test.export_graph
    monkeypatch.setattr(module_under_test, "export_graph", export_another)
    films = np.random.default_rng(0).random((2, 1, 64, 64), dtype=np.float32)
    with pytest.raises(ExportError, match="as it was"):
        build(networks, recipe, tmp_path / "repository", films)
    assert not list(tmp_path.iterdir()), "nothing half built is left"


TEMPERATURES = {"resnet34": 0.5, "resnet50": 1.0, "resnet152": 2.0, "vgg16": 4.0}


@pytest.fixture(scope="module")
def calibrated_run(built, tmp_path_factory):
    """The run of `repository`, with temperatures that tell its networks apart."""
    path = shutil.copytree(built.run.path, tmp_path_factory.mktemp("run") / "tiny")
    run, recipe = Run.open(path), built.run.recipe
    networks = ("segment", *DEFAULT_MEMBERS)
    weights = {name: weights_digest(run.folder(name).checkpoint) for name in networks}
    point = OperatingPoint("sensitivity 95 %", "sensitivity", 0.95, 0.21875, 0.96, 0.7)
    calibration = Calibration(
        recipe.labels, DEFAULT_MEMBERS, TEMPERATURES, (point,), "validation", films=80, positives=33
    )
    store_calibration(run.path, calibration, weights)
    return run.path


@pytest.fixture
def unchanged_graphs(repository, monkeypatch):
    """All graphs but `average` are copied from `repository`: exporting them again takes minutes."""
    from cxrexport import build as module_under_test

    real_export = module_under_test.export_graph

    def export(module, spec, path, metadata, weights):
        graph = path.parts[-3]
        if graph == "average":
            real_export(module, spec, path, metadata, weights)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repository / graph / "1" / "model.onnx", path)

    monkeypatch.setattr(module_under_test, "export_graph", export)


def build_run(run, folder, *more):
    command = ["build", "--run", run, "--repository", folder, "--films", 2, *more]
    return CliRunner().invoke(app, [str(word) for word in command])


def told_by(folder):
    parameters = parse((folder / "cxr" / "config.pbtxt").read_text()).parameters
    return EnsembleInfo.from_parameters({k: parameters[k].string_value for k in parameters})


def test_a_runs_temperatures_and_operating_point_are_built_into_the_ensemble(
    calibrated_run, unchanged_graphs, tmp_path
):
    folder = tmp_path / "repository"
    result = build_run(calibrated_run, folder, "--operating-point", "sensitivity95")
    assert result.exit_code == 0, result.output
    assert result.stderr == "", "torch's exporter warns of nothing, and progress is for terminals"

    margins = np.array([1.0, -1.0, 3.0, -2.0], np.float32)
    average = onnxruntime.InferenceSession(folder / "average" / "1" / "model.onnx")
    inputs = {
        f"LOGITS_{name.upper()}": np.array([[0.0, margin]], np.float32)
        for name, margin in zip(DEFAULT_MEMBERS, margins, strict=True)
    }
    inputs |= {f"CAM_{name.upper()}": np.zeros((1, 2, 2), np.float32) for name in DEFAULT_MEMBERS}
    probability, members, votes = average.run(["PROBABILITY", "MEMBERS", "VOTES"], inputs)
    expected = 1 / (1 + np.exp(-margins / np.array(list(TEMPERATURES.values()))))
    np.testing.assert_allclose(members[0], expected, atol=1e-6)
    np.testing.assert_allclose(probability[0, 0], expected.mean(), atol=1e-6)
    assert votes.item() == 2, "a temperature moves no probability across a half"

    info = told_by(folder)
    assert info.calibrated
    assert info.threshold == 0.21875
    assert info.operating_point is not None
    assert info.operating_point.target == 0.95

    checked = CliRunner().invoke(app, ["check", "--repository", str(folder)])
    assert checked.exit_code == 0, checked.output
    sentence = "80 validation films (33 positive); a film above 0.2188 (sensitivity 95 %)"
    assert sentence in checked.output


def test_licences_of_starting_weights_go_into_the_repository_and_into_the_graphs(
    calibrated_run, unchanged_graphs, tmp_path, monkeypatch
):
    from cxrexport import build as module_under_test

    facts_of_graphs, export = {}, module_under_test.export_graph

    def noting(module, spec, path, metadata, *more):
        facts_of_graphs[path.parts[-3]] = metadata
        export(module, spec, path, metadata, *more)

    monkeypatch.setattr(module_under_test, "export_graph", noting)
    run = tmp_path / "run"
    shutil.copytree(calibrated_run, run)
    origin = Origin(
        "vgg16.safetensors",
        "ab" * 32,
        attribution="VGG16, Oxford, CC-BY-4.0",
        provenance="a wheel",
        notice="# Theirs",
    )
    note_origin_of_a_finished_network(run, "vgg16", origin)
    result = build_run(run, tmp_path / "repository")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "repository" / "LICENSE-weights.md").read_text()
    assert "vgg16: these networks began from weights that were there before" in text
    assert "### Theirs" in text
    assert "VGG16, Oxford, CC-BY-4.0" in facts_of_graphs["vgg16"]["starting_weights"]
    assert "starting_weights" not in facts_of_graphs["resnet50"]


def test_what_an_evaluation_found_is_said_with_every_probability(
    calibrated_run, unchanged_graphs, tmp_path
):
    area = {"roc_auc": {"value": 0.91, "low": 0.87, "high": 0.95}, "positives": 40}
    found = {
        "facts": {"recipe digest": Run.open(calibrated_run).recipe.digest},
        "labels": ["normal", "tb"],
        "folds": False,
        "comparison": {
            "films": 84,
            "trials": ["run"],
            "rows": [{"name": "ensemble", "pooled": None, "over_trials": area}],
        },
        "verdict": {"code": "SKILL_SUPPORTED", "sentence": "By the lungs."},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(found))
    result = build_run(calibrated_run, tmp_path / "repository", "--evaluation", tmp_path)
    assert result.exit_code == 0, result.output
    notice = told_by(tmp_path / "repository").notice
    recipe = Run.open(calibrated_run).recipe
    assert notice == (
        f"{' '.join(recipe.notice.split())} Judged on 84 films (40 tb) that they did not learn "
        "from: ROC AUC 0.910 (0.870 to 0.950). SKILL_SUPPORTED: By the lungs. They know normal "
        "and tb alone: they take any other finding for one of the two."
    )


def note_origin_of_a_finished_network(run, network, origin):
    (run / network / "origin.json").write_text(json.dumps(asdict(origin)))


def test_without_a_choice_a_calibrated_ensemble_keeps_the_threshold_of_a_half(
    calibrated_run, unchanged_graphs, tmp_path
):
    assert build_run(calibrated_run, tmp_path / "repository").exit_code == 0
    info = told_by(tmp_path / "repository")
    assert info.calibrated
    assert (info.threshold, info.operating_point) == (0.5, None)
    assert [point.name for point in info.operating_points] == ["sensitivity 95 %"]


def test_a_calibration_of_other_weights_is_refused_before_anything_is_built(
    calibrated_run, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(calibrated_run, run)
    checkpoint = run / "vgg16" / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-4] + b"\0\0\0\1")
    result = build_run(run, tmp_path / "repository")
    assert result.exit_code == 1
    assert "CHECKPOINT" in result.output
    assert "other weights of vgg16" in " ".join(result.output.split())
    assert not (tmp_path / "repository").exists()


def test_an_operating_point_needs_a_calibration(calibrated_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(calibrated_run, run)
    (run / "calibration.json").unlink()
    result = build_run(run, tmp_path / "repository", "--operating-point", "sensitivity95")
    assert result.exit_code == 1
    assert "cxrexport evaluate" in " ".join(result.output.split())


def test_random_weights_have_no_operating_point(tmp_path):
    command = ["build", "--random-weights", "--operating-point", "x", "--repository", tmp_path]
    assert CliRunner().invoke(app, [str(word) for word in command]).exit_code == 2


def test_new_files_take_their_places_and_plans_of_the_graphs_before_go(tmp_path):
    beside, directory = tmp_path / "beside", tmp_path / "repository"
    for folder, text in ((beside, "new"), (directory, "old")):
        (folder / "vgg16" / "1").mkdir(parents=True)
        (folder / "vgg16" / "1" / "model.onnx").write_text(text)
    for name in ("model.plan", "engine.json"):
        (directory / "vgg16" / "1" / name).write_text("of the graph before")
    _move(beside, directory)
    assert (directory / "vgg16" / "1" / "model.onnx").read_text() == "new"
    assert [path.name for path in (directory / "vgg16" / "1").iterdir()] == ["model.onnx"]


def test_the_gates_reference_of_the_graphs_before_is_removed(tmp_path):
    directory, beside = tmp_path / "repository", tmp_path / "beside"
    for folder in (directory, beside):
        (folder / "admission" / "1").mkdir(parents=True)
        (folder / "admission" / "1" / "model.py").write_text(folder.name)
    (directory / "admission" / "1" / "reference.json").write_text("of the graphs before")
    _move(beside, directory)
    assert [path.name for path in (directory / "admission" / "1").iterdir()] == ["model.py"]


def test_members_that_are_none_any_more_go_and_what_else_lies_there_stays(tmp_path):
    directory, beside = tmp_path / "repository", tmp_path / "beside"
    spec = RepositorySpec("test", PreprocessingSpec(size_px=64), ("a", "b"), 0.5, "Random.")
    for folder, members in ((directory, DEFAULT_MEMBERS), (beside, ("vgg16",))):
        for graph in graphs_of(members):
            (folder / graph / "1").mkdir(parents=True)
            (folder / graph / "1" / "model.onnx").write_text(folder.name)
        write_repository(replace(spec, members=members), folder)
    (directory / "somebody_elses").mkdir()
    _move(beside, directory)
    there = {path.name for path in directory.iterdir() if path.is_dir()}
    served = {*graphs_of(("vgg16",)), "preprocess", "admission", "cxr"}
    assert there == {*served, "somebody_elses"}
    assert read_repository(directory)[0].members == ("vgg16",)


def test_random_weights_know_no_films_for_the_gate(tmp_path):
    result = CliRunner().invoke(
        app,
        ["build", "--random-weights", "--admission", "films.csv", "--repository", str(tmp_path)],
    )
    assert result.exit_code == 2


def test_a_run_that_does_not_exist_is_named(tmp_path):
    result = CliRunner().invoke(
        app, ["build", "--run", str(tmp_path / "no"), "--repository", str(tmp_path / "r")]
    )
    assert result.exit_code == 1
    assert "CHECKPOINT" in result.output
    assert not (tmp_path / "r").exists()


def test_run_and_random_weights_exclude_each_other(tmp_path):
    assert CliRunner().invoke(app, ["build", "--repository", str(tmp_path)]).exit_code == 2


@pytest.fixture(scope="module")
def drawn_manifest(tmp_path_factory):
    return write_phantoms(124, tmp_path_factory.mktemp("films"), seed=0, size_px=128)


def test_the_gate_is_fitted_and_the_model_stays_what_it_is(repository, drawn_manifest, tmp_path):
    copy = shutil.copytree(repository, tmp_path / "repository")
    command = ["admission", "--repository", copy, "--manifest", drawn_manifest]
    result = CliRunner().invoke(app, [str(a) for a in [*command, "--false-alarm-rate", 0.05]])
    assert result.exit_code == 0, result.output
    seen = [row for row in read_manifest(drawn_manifest) if row.split != "test"]
    assert 100 <= len(seen) < 124
    assert f"knows {len(seen)} films" in result.stdout, "test films are passed over"
    assert check_repository(copy) == []
    before, after = (read_repository(folder) for folder in (repository, copy))
    assert before[1:] == after[1:]
    assert before[0].reference is None
    assert after[0].reference.false_alarm_rate == 0.05


def test_too_few_films_are_refused_and_nothing_is_written(repository, drawn_manifest, tmp_path):
    copy = shutil.copytree(repository, tmp_path / "repository")
    command = ["admission", "--repository", copy, "--manifest", drawn_manifest, "--share", 0.5]
    result = CliRunner().invoke(app, [str(a) for a in command])
    assert result.exit_code == 2
    assert "films are too few; at least 100 are needed" in result.output
    assert read_repository(copy)[0].reference is None
