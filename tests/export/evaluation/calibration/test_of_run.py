"""A calibration belongs to the weights that it was fitted on, and is served with no others."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from cxrexport.errors import CheckpointError
from cxrexport.evaluation.calibration.judged import Calibration, OperatingPoint
from cxrexport.evaluation.calibration.of_run import (
    calibration_path,
    load_calibration,
    served_calibration,
    store_calibration,
)
from cxrexport.training.recipe import load_recipe
from cxrexport.training.run.folder import Run
from cxrexport.weights import weights_digest

MEMBERS = ("resnet34", "resnet50", "resnet152", "vgg16")
NETWORKS = ("segment", *MEMBERS, "densenet121")
CALIBRATION = Calibration(
    labels=("non-covid", "covid"),
    members=MEMBERS,
    temperatures={"vgg16": 4.0, "resnet152": 2.0, "resnet50": 1.0, "resnet34": 0.5},
    operating_points=(
        OperatingPoint("sensitivity 95 %", "sensitivity", 0.95, 0.25, 0.96, 0.7),
        OperatingPoint("specificity 97.5 %", "specificity", 0.975, 0.75, 0.6, 0.98, "few films"),
    ),
    fitted_on="validation",
    films=80,
    positives=33,
)


@pytest.fixture
def run(tmp_path):
    """A run whose checkpoints are one number each: what matters here is whether they change."""
    run = Run(tmp_path / "run", load_recipe("starter"))
    for number, network in enumerate(NETWORKS):
        run.folder(network).path.mkdir()
        train(run, network, number)
    return run


def train(run: Run, network: str, number: float) -> None:
    save_file({"weight": np.array([float(number)])}, run.folder(network).checkpoint)


@pytest.fixture
def weights(run):
    return {name: weights_digest(run.folder(name).checkpoint) for name in NETWORKS}


def test_what_is_stored_is_loaded(run, weights):
    path = store_calibration(run.path, CALIBRATION, weights)
    assert path == run.path / "calibration.json"
    assert load_calibration(run) == CALIBRATION


def test_it_is_bound_to_the_members_and_the_lung_network_alone(run, weights):
    """DenseNet121 is compared, not served: training it anew changes nothing."""
    store_calibration(run.path, CALIBRATION, weights)
    assert set(json.loads(calibration_path(run.path).read_text())["bound_to"]) == {
        "segment",
        *MEMBERS,
    }


def test_a_run_without_one_has_none(run):
    assert load_calibration(run) is None


@pytest.mark.parametrize("network", ["segment", "vgg16"])
def test_it_is_refused_beside_other_weights_than_it_was_fitted_on(run, weights, network):
    store_calibration(run.path, CALIBRATION, weights)
    train(run, network, 7.5)
    with pytest.raises(CheckpointError, match=f"other weights of {network} .* evaluate"):
        load_calibration(run)


def test_it_is_refused_in_a_run_that_lacks_a_member(run, weights):
    store_calibration(run.path, CALIBRATION, weights)
    run.folder("resnet50").checkpoint.unlink()
    with pytest.raises(CheckpointError, match="other weights of resnet50 "):
        load_calibration(run)


def test_it_is_refused_where_it_names_no_weights_of_a_member(run, weights):
    """Someone took the binding out by hand."""
    path = store_calibration(run.path, CALIBRATION, weights)
    content = json.loads(path.read_text())
    del content["bound_to"]["vgg16"]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="other weights of vgg16 "):
        load_calibration(run)


def test_it_is_refused_for_other_labels(run, weights):
    other = dataclasses.replace(CALIBRATION, labels=("normal", "tb"))
    store_calibration(run.path, other, weights)
    with pytest.raises(CheckpointError, match="normal and tb, the run for non-covid and covid"):
        load_calibration(run)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"calibration": {}}', CALIBRATION.to_json(), '{"bound_to": 1}']
)
def test_a_file_that_does_not_say_what_belongs_to_what_is_refused(run, text):
    calibration_path(run.path).write_text(text)
    with pytest.raises(CheckpointError, match="does not say what was fitted on which weights"):
        load_calibration(run)


def test_impossible_values_are_refused_with_the_files_name(run, weights):
    path = store_calibration(run.path, CALIBRATION, weights)
    path.write_text(path.read_text().replace('"vgg16": 4.0', '"vgg16": -4.0'))
    with pytest.raises(CheckpointError, match=r"calibration\.json: This is no calibration"):
        load_calibration(run)


def test_nothing_is_stored_without_the_digest_of_a_member(run, weights):
    del weights["vgg16"]
    with pytest.raises(ValueError, match="weights of vgg16"):
        store_calibration(run.path, CALIBRATION, weights)
    assert not calibration_path(run.path).exists()


def test_a_damaged_checkpoint_is_named(run, weights):
    store_calibration(run.path, CALIBRATION, weights)
    run.folder("vgg16").checkpoint.write_bytes(b"\0" * 4)
    with pytest.raises(CheckpointError, match=r"vgg16.* is damaged"):
        load_calibration(run)


def test_the_same_weights_written_again_are_the_same(run, weights):
    """Safetensors writes its metadata in random order; what is trained twice alike is alike."""
    store_calibration(run.path, CALIBRATION, weights)
    save_file({"weight": np.array([1.0])}, run.folder("resnet34").checkpoint, {"epoch": "3"})
    assert load_calibration(run) == CALIBRATION


def test_temperatures_are_served_in_the_order_of_the_members():
    assert served_calibration(CALIBRATION, MEMBERS).temperatures == (0.5, 1.0, 2.0, 4.0)


def test_without_a_choice_the_threshold_is_a_half():
    served = served_calibration(CALIBRATION, MEMBERS)
    assert (served.point, served.threshold) == (None, 0.5)
    assert len(served.points) == 2


@pytest.mark.parametrize(
    ("asked", "threshold"),
    [("sensitivity 95 %", 0.25), ("Sensitivity95", 0.25), ("specificity-97.5%", 0.75)],
)
def test_an_operating_point_may_be_spelt_as_is_easy_in_a_shell(asked, threshold):
    assert served_calibration(CALIBRATION, MEMBERS, asked).threshold == threshold


def test_an_unknown_operating_point_is_refused_with_those_there_are():
    with pytest.raises(CheckpointError, match=r'"sensitivity 95 %", "specificity 97\.5 %"'):
        served_calibration(CALIBRATION, MEMBERS, "sensitivity 9")


def test_a_calibration_of_fewer_members_is_not_served():
    fewer = dataclasses.replace(CALIBRATION, members=MEMBERS[:3])
    with pytest.raises(CheckpointError, match="Train them all"):
        served_calibration(fewer, MEMBERS)
