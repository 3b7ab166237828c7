"""`cxrexport study` on drawn films: splits, training, report; killed on the way, and resumed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner

from cxrclient.files.lock import only_one
from cxrexport.cli.app import app
from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.evaluation.in_words import evidence_in_words
from cxrexport.manifest import read_manifest, write_manifest
from cxrexport.networks import make_backbone
from cxrexport.study.estimate import Cost, seconds_left
from cxrexport.study.splits import random_splits
from cxrexport.training.recipe import PROBABILITIES, load_recipe
from cxrexport.training.run import Run, films_learnt_from, splits_of_runs
from drawn_study import NETWORKS, RECIPE, arguments
from waiting import eventually


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


def test_every_trial_keeps_its_split_so_that_its_networks_are_judged_by_it(study, manifest):
    rows = tuple(replace(row, split=None) for row in read_manifest(manifest))
    for split in random_splits(rows, 2, RECIPE["seed"]):
        run = Run.open(study / "trials" / split.name)
        assert splits_of_runs(rows, [run]) == split.rows
        learnt = len(split.positions("train")) + len(split.positions("validation"))
        for network in ("segment", "resnet34", "resnet50"):
            assert len(films_learnt_from(run, [network])) == learnt


def test_the_verdict_is_in_words(metrics):
    assert metrics["verdict"]["code"]
    assert metrics["verdict"]["sentence"].endswith(".")


def test_what_it_found_can_be_served_with_networks_of_the_recipe(study, recipe, metrics, tmp_path):
    said = evidence_in_words(study, load_recipe(str(recipe)))
    rows = {row["name"]: row["pooled"]["roc_auc"] for row in metrics["comparison"]["rows"]}
    assert said.startswith("Networks trained alike in 2 ")
    assert f", judged on {metrics['comparison']['films']} films (" in said
    assert f"ROC AUC {rows['ensemble']['value']:.3f} (" in said
    assert f"greys has {rows['thumbnail']['value']:.3f} (" in said
    assert f"{metrics['verdict']['code']}: {metrics['verdict']['sentence']}" in said
    assert said.endswith("they take any other finding for one of the two.")
    with pytest.raises(RecipeError, match="is of another recipe"):
        evidence_in_words(study, load_recipe("starter"))
    (tmp_path / "metrics.json").write_text('{"facts": {}}')
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match="does not say how the networks did"):
            evidence_in_words(folder, load_recipe("starter"))


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


def test_time_left_is_that_of_the_costs_whichever_task_ends_first() -> None:
    plan = SimpleNamespace(splits=[SimpleNamespace(name=name) for name in ("fold-01", "fold-02")])
    costs = [Cost("lungs", 1, 600, 2), Cost("features vgg16", 1, 300, 1), Cost("vgg16", 1, 60, 2)]
    tasks = [f"{trial} {work}" for trial in ("fold-01", "fold-02") for work in ("lungs", "vgg16")]
    tasks += ["films vgg16", "features vgg16", "fold-01 scores", "fold-02 scores"]
    assert seconds_left(plan, costs, 2, tasks) == (2 * 600 + 300 + 2 * 60) / 2
    assert seconds_left(plan, costs, 2, tasks[:4]) == (2 * 600 + 2 * 60) / 2
    assert seconds_left(plan, costs, 1, ["fold-02 vgg16", "fold-02 scores"]) == 60
    assert seconds_left(plan, [], 1, tasks) == 0


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
    assert re.search(r"features resnet34 ", result.output), "in the table of costs"
    assert "features resnet34: done" in result.output
    places = (tmp_path / "features" / "resnet34").iterdir()
    learnt_from = [place for place in places if not place.name.endswith("-judged")]
    features = [file for place in learnt_from for file in place.glob("*.npy")]
    assert len(features) == 2 * len(read_manifest(manifest)), "one for each trial's lung map"
    times = {path: path.stat().st_mtime_ns for path in features}
    shutil.rmtree(tmp_path / "trials" / "split-02" / "resnet34")
    again = CliRunner().invoke(app, [*words, "--pretrained", weights])
    assert again.exit_code == 0, again.output
    assert not re.search(r"features resnet34 ", again.output)
    assert {path: path.stat().st_mtime_ns for path in features} == times


def test_frozen_parts_without_weights_to_start_from_are_refused(cached, manifest, tmp_path):
    words = arguments(cached[0], manifest, tmp_path / "out")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "freezes parts of resnet34, which were never trained; give --pretrained" in said
    assert not (tmp_path / "out").exists()


def test_of_a_recipe_that_freezes_the_members_alone_are_studied(cached, manifest, tmp_path):
    recipe, weights = cached
    changed = tmp_path / "one.yaml"
    changed.write_text(
        yaml.safe_dump({**yaml.safe_load(recipe.read_text()), "members": ["resnet34"]})
    )
    words = arguments(changed, manifest, tmp_path / "out", "--pretrained", weights)
    at = words.index("--networks")
    del words[at : at + 2]
    result = CliRunner().invoke(app, [*words, "--lungs", "nowhere"])
    assert "--lungs nowhere: there is no run" in " ".join(result.output.split()), result.output
