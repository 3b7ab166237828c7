"""Sources left out, and lung networks that come from elsewhere."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.manifest import read_manifest, write_manifest
from cxrexport.study.command import StudyOptions, make_plan
from cxrexport.study.tasks import train_lungs
from cxrexport.training.recipe import load_recipe
from cxrexport.training.run import weights_digest
from drawn_study import NETWORKS, arguments


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
    rows = [replace(row, split=None) for row in read_manifest(masked_hospitals)]
    write_manifest(rows, tmp_path / "films.csv")  # judged by the trial's own split
    words = ["evaluate", "--run", run, "--manifest", tmp_path / "films.csv"]
    words += ["--output", tmp_path / "out"]
    result = CliRunner().invoke(app, [*map(str, words), "--bootstrap", "10"])
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    north = sum(row.source == "north" for row in rows)
    assert metrics["lungs"]["all"]["films"] == metrics["comparison"]["films"] == north
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
    return make_plan(StudyOptions(**{**given, "pretrained": (), "settings": (), **options}))


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


def test_what_is_set_is_in_the_recipe_of_every_trial(recipe, manifest, tmp_path):
    plan = planned(recipe, manifest, tmp_path, settings=("classify.epochs=7", "name=mine"))
    assert plan.recipe == load_recipe(str(recipe), ["classify.epochs=7", "name=mine"])
    assert (plan.recipe.classify.epochs, plan.recipe.name) == (7, "mine")


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
