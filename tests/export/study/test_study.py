"""`cxrexport study` on drawn films: splits, training, report; killed on the way, and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import fields, replace

import pytest
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner

from cxrclient.files.lock import only_one
from cxrexport.cli.app import app
from cxrexport.manifest import read_manifest, write_manifest
from cxrexport.networks import make_backbone
from cxrexport.phantom import write_phantoms
from cxrexport.study.command import StudyOptions, make_plan
from cxrexport.study.tasks import train_lungs
from cxrexport.training.recipe import PROBABILITIES
from cxrexport.training.run import weights_digest
from waiting import eventually

RECIPE = {
    "name": "drawn",
    "negative": "non-covid",
    "positive": "covid",
    "preprocessing": {"size_px": 64},
    "width": 0.125,
    "seed": 3,
    "precision": "fp32",
    "segment": {
        "epochs": 3,
        "batch_size": 4,
        "optimizer": "adam",
        "learning_rate": 2.0e-3,
        "learning_rate_decay": 0.9,
        "weight_decay": 0.0,
    },
    "classify": {
        "epochs": 3,
        "batch_size": 4,
        "optimizer": "adamw",
        "learning_rate": 1.0e-3,
        "learning_rate_decay": 0.9,
        "weight_decay": 1.0e-2,
    },
}
NETWORKS = "resnet34,resnet50"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "drawn.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_phantoms(36, tmp_path_factory.mktemp("drawn"), seed=7, size_px=128)


def arguments(recipe, manifest, output, *more):
    names = ["--recipe", recipe, "--manifest", manifest, "--output", output]
    return ["study", *map(str, names), "--networks", NETWORKS, "--splits", "2", *more]


@pytest.fixture(scope="module")
def study(recipe, manifest, tmp_path_factory):
    """The folder of a study of two splits, two networks and three epochs."""
    output = tmp_path_factory.mktemp("study")
    result = CliRunner().invoke(app, arguments(recipe, manifest, output, "--jobs", "2"))
    assert result.exit_code == 0, result.output
    return output


@pytest.fixture(scope="module")
def metrics(study):
    return json.loads((study / "metrics.json").read_text())


def test_every_network_and_the_ensemble_have_figures_with_intervals(metrics):
    rows = {row["name"]: row for row in metrics["comparison"]["rows"]}
    assert {"resnet34", "resnet50", "ensemble", "vote", "thumbnail"} <= set(rows)
    for name in ("resnet34", "resnet50", "ensemble"):
        figures = rows[name]["over_trials"]
        for metric in ("accuracy", "sensitivity", "specificity", "roc_auc", "pr_auc"):
            assert 0 <= figures[metric]["low"] <= figures[metric]["value"] <= 1
        assert len(rows[name]["trials"]) == 2


def test_what_was_not_trained_is_said(metrics):
    assert "resnet152" in metrics["comparison"]["missing"]
    assert "densenet121" in metrics["comparison"]["missing"]


def test_the_verdict_is_in_words(metrics):
    assert metrics["verdict"]["code"]
    assert metrics["verdict"]["sentence"].endswith(".")


def test_the_lung_network_of_each_split_is_measured_on_its_test_films(metrics):
    tested = sum(trial["test"]["films"] for trial in metrics["collection"]["trials"])
    assert metrics["lungs"]["all"]["films"] == tested


def test_the_report_needs_nothing_from_elsewhere_and_names_no_patient(study, manifest):
    page = (study / "report.html").read_text()
    assert "Research use only" in page
    assert "<script" not in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    text = page + (study / "metrics.json").read_text()
    for row in read_manifest(manifest):
        assert row.patient_id not in text
        assert row.image.name not in text


def test_every_figure_is_there_as_svg_and_png(study):
    svg, png = ({p.stem for p in (study / "figures").glob(f"*.{kind}")} for kind in ("svg", "png"))
    assert svg == png
    assert {"roc", "confusion-matrix", "score-histogram", "nearest-films", "lungs"} <= svg


@pytest.mark.slow
def test_a_killed_study_resumes_and_gives_the_same_metrics(study, recipe, manifest, tmp_path):
    output = tmp_path / "killed"
    command = [sys.executable, "-c", "from cxrexport.cli.app import main; main()"]
    process = subprocess.Popen(
        [*command, *arguments(recipe, manifest, output, "--jobs", "2")],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    states = "trials/*/resnet*/state.pt"
    eventually(lambda: list(output.glob(states)) or process.poll() is not None)
    assert process.poll() is None, "it ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (output / "metrics.json").exists()
    result = CliRunner().invoke(app, arguments(recipe, manifest, output, "--jobs", "2"))
    assert result.exit_code == 0, result.output
    assert (output / "metrics.json").read_bytes() == (study / "metrics.json").read_bytes()


@pytest.mark.slow
def test_a_trial_that_fails_does_not_lose_the_other(study, recipe, manifest, tmp_path):
    output = tmp_path / "half"
    output.mkdir()
    for part in ("films", "trials/split-01"):
        (output / part).parent.mkdir(parents=True, exist_ok=True)
        (output / part).symlink_to(study / part)
    (output / "trials" / "split-02").mkdir()
    (output / "trials" / "split-02" / "segment").write_text("in the way")
    result = CliRunner().invoke(app, arguments(recipe, manifest, output, "--jobs", "1"))
    assert result.exit_code == 0, result.output
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["comparison"]["trials"] == ["split-01"]
    assert "split-02 lungs" in metrics["failures"]


def test_a_study_is_refused_before_it_starts_if_a_split_lacks_a_class(recipe, manifest, tmp_path):
    rows = read_manifest(manifest)
    few = [row for row in rows if row.label == "covid"] + [
        row for row in rows if row.label == "non-covid"
    ][:1]
    write_manifest(few, tmp_path / "few.csv")
    result = CliRunner().invoke(app, arguments(recipe, tmp_path / "few.csv", tmp_path / "out"))
    assert result.exit_code == 2
    assert "no film is non-covid" in result.output
    assert not (tmp_path / "out" / "trials").exists()


def test_a_study_that_is_at_work_is_not_joined(recipe, manifest, tmp_path):
    output = tmp_path / "busy"
    output.mkdir()
    with only_one(output, RuntimeError()):
        result = CliRunner().invoke(app, arguments(recipe, manifest, output))
    assert result.exit_code == 2
    assert "Another `cxrexport study` works in" in result.output
    assert not list(output.iterdir())


def test_an_unknown_network_is_refused(recipe, manifest, tmp_path):
    words = arguments(recipe, manifest, tmp_path / "out")
    words[words.index(NETWORKS)] = "resnet18"
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "There is no network 'resnet18'" in result.output


@pytest.mark.slow
def test_the_whole_trials_of_an_unfinished_study_can_be_looked_at(
    study, recipe, manifest, tmp_path
):
    output = tmp_path / "unfinished"
    (output / "trials").mkdir(parents=True)
    (output / "films").symlink_to(study / "films")
    (output / "trials" / "split-01").symlink_to(study / "trials" / "split-01")
    words = arguments(recipe, manifest, output, "--evaluate-only", "--jobs", "1")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["comparison"]["trials"] == ["split-01"]
    assert metrics["failures"] == {"split-02 scores": "not trained yet: resnet34, resnet50"}
    assert not (output / "trials" / "split-02" / "resnet34").exists()


def test_an_unfinished_study_without_a_whole_trial_says_so(recipe, manifest, tmp_path):
    words = arguments(recipe, manifest, tmp_path / "out", "--evaluate-only")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "has all its networks yet" in result.output


def test_a_trials_calibration_is_kept_with_its_run(study, metrics):
    for trial, kept in zip(metrics["calibration"]["trials"], ("split-01", "split-02"), strict=True):
        assert trial["name"] == kept
        stored = json.loads((study / "trials" / kept / "calibration.json").read_text())
        assert set(stored["bound_to"]) == {"segment", "resnet34", "resnet50"}
        temperatures = stored["calibration"]["temperatures"]
        assert temperatures == pytest.approx(trial["calibration"]["temperatures"], rel=1e-5)


# --- two hospitals without lung masks ----------------------------------------------------------


@pytest.fixture(scope="module")
def two_hospitals(manifest, tmp_path_factory):
    """The films without their masks; every second patient of each class is of the south."""
    of_class = {}
    for row in read_manifest(manifest):
        of_class.setdefault(row.label, {}).setdefault(row.patient_id, []).append(row)
    rows = [
        replace(row, mask=None, source="South/2" if k % 2 else "north")
        for patients in of_class.values()
        for k, films in enumerate(patients.values())
        for row in films
    ]
    path = tmp_path_factory.mktemp("hospitals") / "films.csv"
    write_manifest(rows, path)
    return path


def left_out(recipe, manifest, output, *more):
    words = arguments(recipe, manifest, output, "--leave-source-out", "--jobs", "2", *more)
    words[words.index(NETWORKS)] = "resnet34"
    return CliRunner().invoke(app, [*words, "--bootstrap", "20"])


@pytest.fixture(scope="module")
def other_hospital(recipe, two_hospitals, tmp_path_factory):
    """What a study said that leaves each hospital out, and its folder."""
    output = tmp_path_factory.mktemp("other") / "study"
    result = left_out(recipe, two_hospitals, output)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split()), output


def test_each_hospital_is_judged_by_networks_that_learnt_from_the_other(
    other_hospital, two_hospitals
):
    metrics = json.loads((other_hospital[1] / "metrics.json").read_text())
    rows = read_manifest(two_hospitals)
    assert metrics["comparison"]["trials"] == ["without-south-2", "without-north"]
    for found, here, there in zip(
        metrics["transfer"], ("South/2", "north"), ("north", "South/2"), strict=True
    ):
        films = sum(row.source == here for row in rows)
        assert (found["source"], found["learnt_from"]) == (here, [there])
        assert found["films"] == films
        assert 0 <= found["roc_auc"]["ensemble"]["value"] <= 1
        assert {"ensemble", "resnet34", "thumbnail"} <= set(found["roc_auc"])
        assert [at["name"] for at in found["travels"]] == [
            "0.5",
            "sensitivity 90 %",
            "specificity 90 %",
        ]
        assert found["own"]["specificity"]["value"] >= 0.9
        assert found["reason"] == f"{films} films are too few to draw 20 of both classes from them"
    page = (other_hospital[1] / "report.html").read_text()
    assert "At another hospital" in page
    assert "2 sources, each left out once" in " ".join(page.split())


def test_without_masks_the_shipped_lung_network_is_used_and_said_aloud_and_in_the_report(
    other_hospital,
):
    said, output = other_hospital
    sentence = (
        "The lung network is that of repository starter, not trained here; it learnt at 320 px "
        "and is used at 64 px"
    )
    assert sentence in said
    assert sentence in " ".join((output / "report.html").read_text().split())
    metrics = json.loads((output / "metrics.json").read_text())
    assert sentence in metrics["facts"]["lung network"]
    assert "no lung masks" in metrics["lungs_note"]
    assert metrics["audit"]["interventions"][3]["name"] == "no_lungs_map_kept"
    assert metrics["audit"]["interventions"][3]["roc_auc"]["value"] is not None
    for trial in ("without-north", "without-south-2"):
        origin = json.loads((output / "trials" / trial / "segment" / "origin.json").read_text())
        assert origin["source"] == "repository starter"


@pytest.fixture(scope="module")
def masked_hospitals(manifest, two_hospitals):
    """The films of both hospitals with their masks."""
    masks = {row.image: row.mask for row in read_manifest(manifest)}
    path = two_hospitals.parent / "masked.csv"
    write_manifest([replace(r, mask=masks[r.image]) for r in read_manifest(two_hospitals)], path)
    return path


def test_a_given_lung_network_is_measured_on_the_masks_that_there_are(
    other_hospital, masked_hospitals, tmp_path
):
    run = other_hospital[1] / "trials" / "without-north"
    words = ["evaluate", "--run", run, "--manifest", masked_hospitals, "--output", tmp_path / "out"]
    result = CliRunner().invoke(app, [*map(str, words), "--bootstrap", "10"])
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["lungs"]["all"]["films"] == metrics["comparison"]["films"]
    assert 0 < metrics["lungs"]["all"]["dice"]["value"] <= 1
    assert "repository starter" in metrics["lungs_note"]
    assert "no lung masks" not in metrics["lungs_note"]
    assert metrics["before"] is None


def test_a_study_keeps_the_lung_network_that_it_was_begun_with(
    study, other_hospital, recipe, manifest, masked_hospitals
):
    words = arguments(recipe, manifest, study, "--lungs", "starter", "--jobs", "1")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "holds another lung network than that of repository starter" in said
    result = left_out(recipe, masked_hospitals, other_hospital[1])
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "was begun with the lung network of repository starter" in said


def planned(recipe, manifest, output, **options):
    """The plan of a study of one split; what is not given is left out."""
    given = dict.fromkeys(field.name for field in fields(StudyOptions))
    given |= {"manifest": manifest, "output": output, "recipe": str(recipe), "splits": 1}
    return make_plan(StudyOptions(**{**given, "pretrained": (), **options}))


def test_the_lung_network_of_a_run_serves_every_trial(study, recipe, manifest, tmp_path):
    run = study / "trials" / "split-01"
    plan = planned(recipe, manifest, tmp_path, networks="resnet34", lungs=str(run))
    assert plan.lungs_note.startswith("The lung network is that of run split-01, not trained here")
    train_lungs(plan, plan.splits[0])
    taken, theirs = (
        weights_digest(folder / "segment" / "checkpoint.safetensors")
        for folder in (tmp_path / "trials" / "split-01", run)
    )
    assert taken == theirs


def test_where_there_are_masks_a_lung_network_is_trained_a_trial(recipe, manifest, tmp_path):
    plan = planned(recipe, manifest, tmp_path)
    assert (plan.lungs, plan.lungs_note) == (None, None)


@pytest.mark.parametrize("masked", [True, False])
def test_the_networks_may_be_shown_the_lungs_alone(masked, recipe, two_hospitals, tmp_path):
    plan = planned(recipe, two_hospitals, tmp_path, mask_to_lungs=masked)
    assert plan.recipe.input == ("masked" if masked else None)
    assert plan.recipe_of("resnet50-plain").input == "film"
    assert (plan.recipe.name == "drawn-masked") is masked


def test_a_source_of_one_class_is_refused_before_training_with_its_rows(
    recipe, two_hospitals, tmp_path
):
    rows = [
        row for row in read_manifest(two_hospitals) if row.source == "north" or row.label == "covid"
    ]
    write_manifest(rows, tmp_path / "few.csv")
    there = [row.row for row in read_manifest(tmp_path / "few.csv") if row.source != "north"]
    result = left_out(recipe, tmp_path / "few.csv", tmp_path / "out")
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "no film of South/2 is non-covid (line" in said
    assert f"{there[0]}" in said
    assert not (tmp_path / "out" / "trials").exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--lungs", "nowhere"), "there is no run and no model repository; give starter"),
        (("--folds", "folds.csv"), "Give either --leave-source-out or --folds"),
    ],
)
def test_what_cannot_be_is_refused_before_training(more, sentence, recipe, two_hospitals, tmp_path):
    result = left_out(recipe, two_hospitals, tmp_path / "out", *more)
    assert result.exit_code in (1, 2)
    assert sentence in " ".join(result.output.split())
    assert not (tmp_path / "out" / "trials").exists()


# --- features that are computed once -----------------------------------------------------------


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """A recipe of frozen parts and a head that reads lungs, and weights that do not see them."""
    folder = tmp_path_factory.mktemp("cached")
    none = dict.fromkeys(PROBABILITIES, 0.0) | {"flip": 0.5}
    schedule = {**RECIPE["classify"], "epochs": 1, "frozen": 5, "cached": True}
    segment = {**RECIPE["segment"], "epochs": 1}
    recipe = {**RECIPE, "pooling": "both", "augmentation": none, "segment": segment}
    (folder / "cached.yaml").write_text(yaml.safe_dump({**recipe, "classify": schedule}))
    weights = make_backbone("resnet34", RECIPE["width"]).state_dict()
    weights["conv1.weight"][:, 1] = 0
    save_file(
        {k: v for k, v in weights.items() if not k.startswith("head.")},
        folder / "resnet34.safetensors",
    )
    return folder / "cached.yaml", f"resnet34={folder / 'resnet34.safetensors'}"


@pytest.mark.slow
def test_features_are_computed_once_for_all_trials_and_the_costs_say_so(cached, manifest, tmp_path):
    recipe, weights = cached
    words = arguments(recipe, manifest, tmp_path, "--train-only", "--jobs", "1")
    words[words.index(NETWORKS)] = "resnet34"
    result = CliRunner().invoke(app, [*words, "--pretrained", weights])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "resnet34 features" in said
    assert "features resnet34: done" in said
    features = list((tmp_path / "features" / "resnet34").glob("*/*.npy"))
    assert len(features) == 2 * len(read_manifest(manifest)), "one for each trial's lung map"
    times = {path: path.stat().st_mtime_ns for path in features}
    shutil.rmtree(tmp_path / "trials" / "split-02" / "resnet34")
    again = CliRunner().invoke(app, [*words, "--pretrained", weights])
    assert again.exit_code == 0, again.output
    assert "resnet34 features" not in again.output
    assert {path: path.stat().st_mtime_ns for path in features} == times


def test_frozen_parts_without_weights_to_start_from_are_refused(cached, manifest, tmp_path):
    words = arguments(cached[0], manifest, tmp_path / "out")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "freezes parts of resnet34, which were never trained; give --pretrained" in said
    assert not (tmp_path / "out").exists()
