"""A run knows which films it learnt from, and is not judged on them."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import pytest
import yaml
from typer.testing import CliRunner

from cxrclient.files import sha256_of
from cxrexport.cli.app import app
from cxrexport.errors import CheckpointError
from cxrexport.manifest import FilmRow, assign_splits, read_manifest, write_manifest
from cxrexport.training.run.folder import Run
from cxrexport.training.run.learnt import (
    draw_splits,
    films_learnt_from,
    note_films,
    splits_of_runs,
)


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


@pytest.mark.parametrize("run_of", ["before splits.csv", "now"])
def test_films_that_the_networks_know_are_not_judged(run_of, trained, phantom_manifest, tmp_path):
    """Whether the manifest calls them test films, or nothing says which they are."""
    rows, run, split = read_manifest(phantom_manifest), trained, "test"
    if run_of == "before splits.csv":
        run, split = shutil.copytree(trained, tmp_path / "run"), None
        (run / "splits.csv").unlink()
    write_manifest([replace(row, split=split) for row in rows], tmp_path / "all.csv")
    result = evaluate(run, tmp_path / "all.csv", tmp_path / "out")
    assert result.exit_code == 2
    known = sum(row.split in ("train", "validation") for row in rows)
    assert f"{known} problems" in result.output
    assert "the networks learnt from this film" in result.output
    assert not (tmp_path / "out" / "metrics.json").exists()


# --- the run's own split ------------------------------------------------------------------------


def unsplit(rows):
    return [replace(row, split=None) for row in rows]


def films(folder, count, patient="p", **fields):
    """Films that differ in their bytes; every second one is positive, each is a patient."""
    folder.mkdir(exist_ok=True)
    rows = []
    for n in range(count):
        image = folder / f"{patient}{n}.png"
        image.write_bytes(f"{folder.name} {patient} {n}".encode())
        label = ("non-covid", "covid")[n % 2]
        rows.append(FilmRow(image=image, patient_id=f"{patient}{n}", label=label, **fields))
    return rows


def sides(rows):
    return [row.split for row in rows]


@pytest.fixture
def noted(still, new_run, tmp_path):
    """A run of twelve films, two of them kept for the test; it has learnt nothing yet."""
    rows = [
        replace(row, split="test" if n < 2 else "validation" if n < 4 else "train")
        for n, row in enumerate(films(tmp_path / "films", 12))
    ]
    run = new_run("noted", still())
    note_films(run, ["resnet34"], rows)
    return run, rows


def test_the_split_is_kept_for_people_without_patients_numbers(trained, phantom_rows):
    kept = trained / "splits.csv"
    lines = list(csv.DictReader(kept.open(encoding="utf-8", newline="")))
    assert {(line["image"], line["label"], line["split"], line["sha256"]) for line in lines} == {
        (row.image.name, row.label, row.split, sha256_of(row.image)) for row in phantom_rows
    }
    assert set(lines[0]) == {"image", "label", "split", "sha256"}
    assert kept.stat().st_mode & 0o777 == 0o600


def test_films_are_known_wherever_and_however_named_they_lie(noted, tmp_path):
    run, rows = noted
    moved = []
    for n, row in enumerate(rows):
        path = tmp_path / f"moved{n}.png"
        path.write_bytes(row.image.read_bytes())
        moved.append(replace(row, image=path, patient_id=f"other{n}", split=None))
    assert sides(splits_of_runs(moved, [run])) == sides(rows)


def test_a_patients_new_film_is_on_the_side_of_the_known_ones(noted, tmp_path):
    run, rows = noted
    new = [
        replace(each, patient_id=known.patient_id)
        for each, known in zip(films(tmp_path / "new", 12), rows, strict=True)
    ]
    both = splits_of_runs(unsplit([*new, *rows]), [run])
    assert sides(both) == [*sides(rows), *sides(rows)]


def test_patients_that_no_run_saw_have_no_side_yet(noted, tmp_path):
    run, rows = noted
    both = splits_of_runs(unsplit([*films(tmp_path / "new", 3, "q"), *rows]), [run])
    assert sides(both) == [None, None, None, *sides(rows)]
    assert sides(splits_of_runs(unsplit(rows), [])) == [None] * 12


def test_what_one_of_two_runs_learnt_from_was_learnt_from(noted, still, new_run):
    run, rows = noted
    other = new_run("other", still())
    note_films(other, ["resnet34"], [replace(row, split="test") for row in rows])
    for runs in ([run, other], [other, run]):
        assert sides(splits_of_runs(unsplit(rows), runs)) == sides(rows)


def test_films_that_are_new_to_a_run_are_drawn_and_the_others_stay(noted, tmp_path):
    run, rows = noted
    new = films(tmp_path / "new", 40, "q")
    drawn = draw_splits(unsplit([*rows, *new]), [run], seed=3)
    assert sides(drawn[:12]) == sides(rows)
    assert list(drawn[12:]) == list(assign_splits(new, seed=3))
    assert draw_splits(unsplit(new), [], seed=3) == assign_splits(new, seed=3)


def test_two_networks_of_one_run_may_learn_from_different_films(noted, tmp_path):
    """What either learnt from is no test film of the run, and of both splits nothing is lost."""
    run, rows = noted
    new = films(tmp_path / "new", 2, "q", split="train")
    turned = [replace(rows[0], split="train"), *(replace(row, split="test") for row in rows[1:])]
    note_films(run, ["vgg16"], [*turned[:6], *new])
    expected = ["train", "test", *sides(rows)[2:], "train", "train"]
    assert sides(splits_of_runs(unsplit([*rows, *new]), [run])) == expected


def test_a_network_that_is_trained_anew_brings_its_new_split(noted):
    run, rows = noted
    turned = [replace(row, split="train" if row.split == "test" else "test") for row in rows]
    note_films(run, ["resnet34"], turned)
    assert sides(splits_of_runs(unsplit(rows), [run]))[2:] == ["test"] * 10


def test_a_damaged_split_is_refused(noted):
    run, rows = noted
    kept = run.path / "splits.csv"
    kept.write_text(kept.read_text().replace("validation", "holdout"))
    with pytest.raises(CheckpointError, match=r"splits\.csv: there is no split 'holdout'; mend it"):
        splits_of_runs(unsplit(rows), [run])


def test_films_without_splits_are_trained_on_and_judged_by_the_runs_own(
    train, phantom_rows, tmp_path
):
    """The first words of a user with own films; the scoring itself is the slow test's."""
    manifest, run = tmp_path / "own.csv", tmp_path / "run"
    write_manifest(unsplit(phantom_rows), manifest)
    small = {"preprocessing.size_px": 32, "width": 0.125, "classify.epochs": 1, "input": "film"}
    settings = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    result = train("resnet34", manifest, run, "starter", *settings, "--set", "seed=1")
    assert result.exit_code == 0, result.output
    drawn = assign_splits(unsplit(phantom_rows), seed=1)
    assert "Splits: drawn by patient with seed 1 (" in result.words
    assert sides(splits_of_runs(unsplit(phantom_rows), [Run.open(run)])) == sides(drawn)

    learnt = [row for row in drawn if row.split != "test"]
    write_manifest(unsplit(learnt), manifest)
    result = evaluate(run, manifest, tmp_path / "out")
    words = " ".join(result.output.split())
    assert result.exit_code == 2
    assert "The manifest has no splits, so it takes those of" in words
    assert ", 0 test." in words
    assert "No test film is non-covid and none is covid" in words

    image = tmp_path / "new.png"
    image.write_bytes(learnt[0].image.read_bytes() + b"\0")
    write_manifest(unsplit([*learnt, replace(learnt[0], image=image, patient_id="x")]), manifest)
    words = " ".join(evaluate(run, manifest, tmp_path / "out").output.split())
    assert "1 test, of which 1 are films that the run never saw; whose patients they are" in words
    write_manifest(unsplit(learnt), manifest)

    shutil.rmtree(run / "resnet34")
    again = train("resnet34", manifest, run, "starter", *settings, "--set", "seed=2")
    assert again.exit_code == 0, again.output
    assert "Splits: those of" in again.words
    assert "other patients drawn by patient with seed 2 (" in again.words
    assert sides(splits_of_runs(unsplit(drawn), [Run.open(run)])) == sides(drawn)


@pytest.mark.slow
def test_films_without_splits_are_judged_by_the_runs_own(trained, phantom_manifest, tmp_path):
    rows = read_manifest(phantom_manifest)
    write_manifest(unsplit(rows), tmp_path / "own.csv")
    result = evaluate(trained, tmp_path / "own.csv", tmp_path / "out")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    tested = [row for row in rows if row.split == "test"]
    assert metrics["comparison"]["films"] == len(tested)
    assert metrics["facts"]["splits"] == "the run's own (splits.csv)"


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
