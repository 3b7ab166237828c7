"""`cxrexport manifest check` and `folds`, run as a user does."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner, Result

from cxrexport.cli.app import app
from cxrexport.manifest import FilmRow, read_manifest, write_manifest


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["manifest", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path, drawn_film, write_dicom) -> Path:
    """Six films of six patients: line 3 has a white box, line 4 a lateral header, line 7 no view.

    `manifest.csv` lists them with splits that have both classes.
    """
    rows = []
    for n in range(6):
        pixels = drawn_film(n, 240, 200)
        image = tmp_path / f"film{n}.png"
        view: str | None = "AP"
        if n == 1:
            pixels[100:140, 60:120] = 4095
        if n == 2:
            image, view = tmp_path / "film2.dcm", None
            write_dicom(image, pixels, ViewPosition="LL")
        else:
            cv2.imwrite(str(image), pixels)
        rows.append(
            FilmRow(
                image=image,
                patient_id=f"p{n}",
                label="tb" if n % 2 else "normal",
                split="train" if n < 4 else "test",
                view=None if n == 5 else view,
            )
        )
    write_manifest(rows, tmp_path / "manifest.csv")
    return tmp_path


def test_exclusions_are_listed_with_line_and_reason_and_exit_code_3(folder):
    result = run("check", folder / "manifest.csv")
    lines = [line.removeprefix(f"{folder}/manifest.csv:") for line in result.stdout.splitlines()]
    assert result.exit_code == 3, result.output
    assert lines[0].startswith("3: image: RECTANGULAR_ARTEFACT: a rectangle of one value, ")
    assert lines[0].endswith("(film1.png)")
    assert lines[1] == (
        "4: view: LATERAL_VIEW: its header says that it is a lateral view (film2.dcm)"
    )
    assert lines[2:] == [
        "6 films, 0 problems",
        "2 films that the study would have left out: LATERAL_VIEW 1, RECTANGULAR_ARTEFACT 1",
        "The view of 1 films is unknown, and is not guessed from pixels. Look at them: some may be "
        "lateral.",
    ]


def test_output_leaves_out_what_was_listed_and_nothing_else(folder):
    result = run("check", folder / "manifest.csv", "--output", folder / "clean.csv")
    assert result.exit_code == 0, result.output
    assert "4 films written to" in result.stderr
    assert "; 2 left out" in result.stderr
    kept = {row.patient_id: row for row in read_manifest(folder / "clean.csv")}
    everything = {row.patient_id: row for row in read_manifest(folder / "manifest.csv")}
    assert kept == {name: everything[name] for name in ("p0", "p3", "p4", "p5")}


def test_a_clean_manifest_has_exit_code_0(folder):
    run("check", folder / "manifest.csv", "--output", folder / "clean.csv")
    result = run("check", folder / "clean.csv", "--labels", "normal,tb")
    assert (result.exit_code, "4 films, 0 problems" in result.stdout) == (0, True), result.output


def test_every_problem_is_listed_at_once_with_exit_code_2_and_nothing_is_written(folder):
    with (folder / "manifest.csv").open() as file:
        table = list(csv.DictReader(file))
    table[0] |= {"age": "077Y", "label": "flu"}
    table[1] |= {"image": "gone.png"}
    table[5] |= {"image": "film3.png", "age": "-1", "patient_id": "p4"}
    with (folder / "bad.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    arguments = ("--labels", "normal,tb", "--output", folder / "clean.csv")
    result = run("check", folder / "bad.csv", *arguments)
    places = [line.split(": ")[0] for line in result.stdout.splitlines()]
    columns = [line.split(": ")[1] for line in result.stdout.splitlines()[:5]]
    assert result.exit_code == 2, result.output
    assert places[:5] == [f"{folder}/bad.csv:{line}" for line in (2, 2, 3, 7, 7)]
    assert columns == ["label", "age", "image", "age", "image"]
    assert "5 problem(s), listed above; fix them first" in result.stderr
    assert not (folder / "clean.csv").exists()


def test_json_holds_all_that_was_printed(folder):
    path = folder / "manifest.csv"
    path.write_text(path.read_text().replace("film0.png", "gone.png"))
    run("check", path, "--json", folder / "found.json")
    found = json.loads((folder / "found.json").read_text())
    assert (found["films"], found["view_unknown"]) == (6, 1)
    (problem,) = found["problems"]
    assert (problem["line"], problem["column"], problem["code"]) == (2, "image", "NO_FILE")
    assert [(e["line"], e["code"]) for e in found["exclusions"]] == [
        (3, "RECTANGULAR_ARTEFACT"),
        (4, "LATERAL_VIEW"),
    ]
    assert len(found["exclusions"][0]["box"]) == 4


def test_paths_start_at_root(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "manifest.csv"
    (folder / "manifest.csv").rename(elsewhere)
    assert run("check", elsewhere).exit_code == 2
    assert run("check", elsewhere, "--root", folder).exit_code == 3


@pytest.mark.parametrize("labels", ["tb", "tb,tb", "a,b,c", "a,"])
def test_labels_that_are_not_two_names_are_a_usage_error(folder, labels):
    result = run("check", folder / "manifest.csv", "--labels", labels)
    assert (result.exit_code, "NEGATIVE,POSITIVE" in result.stderr) == (2, True)


def test_a_table_that_cannot_be_read_is_a_problem_of_its_own(tmp_path):
    result = run("check", tmp_path / "none.csv")
    assert (result.exit_code, "cannot be read" in result.stdout) == (2, True)


def test_folds_keep_patients_together_and_are_dealt_alike_again(phantom_manifest, tmp_path):
    for name in ("one.csv", "two.csv"):
        arguments = ("folds", phantom_manifest, "--folds", "3", "--output", tmp_path / name)
        assert run(*arguments).exit_code == 0
    one = (tmp_path / "one.csv").read_text()
    patients = {row.patient_id for row in read_manifest(phantom_manifest)}
    dealt = dict(line.split(",") for line in one.splitlines()[1:])
    assert (set(dealt), set(dealt.values())) == (patients, {"1", "2", "3"})
    assert (tmp_path / "two.csv").read_text() == one


@pytest.mark.parametrize("split", [None, "train"])
def test_films_without_splits_are_said_to_have_none(split, phantom_rows, tmp_path):
    rows = [replace(row, split=split, mask=None) for row in phantom_rows[:4]]
    write_manifest(rows, tmp_path / "own.csv")
    result = run("check", tmp_path / "own.csv")
    assert ("The films have no splits: `cxrexport train` draws" in result.stdout) is (split is None)
