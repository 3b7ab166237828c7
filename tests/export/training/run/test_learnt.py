"""A run knows which films it learnt from, and is not judged on them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.manifest import read_manifest, write_manifest
from cxrexport.training.run.folder import Run
from cxrexport.training.run.learnt import films_learnt_from


@pytest.fixture(scope="module")
def trained(tiny, train, phantom_manifest, tmp_path_factory):
    """A run of one network, which needs no lung network."""
    folder = tmp_path_factory.mktemp("learnt")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny({"epochs": 1}, input="film")))
    result = train("resnet34", phantom_manifest, folder / "run", folder / "tiny.yaml")
    assert result.exit_code == 0, result.output
    return folder / "run"


def evaluate(run, manifest, output):
    words = ["evaluate", "--run", run, "--manifest", manifest, "--output", output]
    return CliRunner().invoke(app, [str(word) for word in (*words, "--bootstrap", 5)])


def test_a_run_notes_its_training_and_validation_films(trained, phantom_rows):
    learnt = films_learnt_from(Run.open(trained), ["resnet34"])
    assert len(learnt) == sum(row.split in ("train", "validation") for row in phantom_rows)


def test_a_run_without_notes_says_nothing(trained):
    assert films_learnt_from(Run.open(trained), ["vgg16"]) is None


def test_films_that_the_networks_know_are_not_judged(trained, phantom_manifest, tmp_path):
    rows = read_manifest(phantom_manifest)
    write_manifest([replace(row, split=None) for row in rows], tmp_path / "all.csv")
    result = evaluate(trained, tmp_path / "all.csv", tmp_path / "out")
    assert result.exit_code == 2
    known = sum(row.split in ("train", "validation") for row in rows)
    assert result.output.count("the networks learnt from this film") == known
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.slow
def test_a_run_is_judged_on_the_test_films_of_its_splits(trained, phantom_manifest, tmp_path):
    result = evaluate(trained, phantom_manifest, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.slow
def test_a_fine_tuned_run_is_judged_before_and_after(trained, train, phantom_manifest, tmp_path):
    recipe = trained.parent / "tiny.yaml"
    words = ["--init", trained, "--freeze", "features"]
    result = train("resnet34", phantom_manifest, tmp_path / "tuned", recipe, *words)
    assert result.exit_code == 0, result.output
    result = evaluate(tmp_path / "tuned", phantom_manifest, tmp_path / "out")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    rows = {row["name"]: row for row in metrics["before"]["rows"]}
    assert rows["resnet34"]["over_trials"]["n"] == metrics["comparison"]["films"]
    assert "ROC AUC gained by fine-tuning" in metrics["facts"]
