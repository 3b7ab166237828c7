"""Folders of films turned into manifests: `cxrexport data covid-cxr|tb-lungs`."""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.datasets import read_covid_cxr, read_tb_lungs
from cxrexport.manifest import read_manifest

SHARED = Path(__file__).parents[4] / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not (SHARED / "covid-cxr" / "metadata.csv").is_file(),
    reason="the development films (../shared/data) are not on this machine",
)


def collection(folder: Path, name: str) -> Path:
    """A made-up folder in the layout of the shared collections: 40 patients, two films each."""
    directory = folder / name
    rows = []
    for number in range(80):
        image, covid = f"f{number:03}.jpg", number % 4 < 2
        for kind in ("images", "masks"):
            (directory / kind).mkdir(parents=True, exist_ok=True)
            (directory / kind / image).touch()
        rows.append(
            {
                "image": image,
                "mask": image,
                "patient_id": f"p{number // 2}",
                "label": "covid" if covid else "non-covid",
                "finding": "tb" if covid else "normal",
                "source": "north" if number < 40 else "south",
                "licence_tier": "A-permissive" if number % 8 < 4 else "B-nc-sa",
                "image_licence": "public",
                "mask_licence": "CC BY 4.0" if number < 40 else "CC BY-NC-SA 4.0",
                "drawn_marks": "yes" if number == 0 else "",
            }
        )
    with (directory / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return directory


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def test_filters_never_move_a_patient_to_another_split(tmp_path: Path) -> None:
    directory = collection(tmp_path, "covid-cxr")
    run("covid-cxr", directory, "--output", tmp_path / "all.csv")
    filters = ("--source", "north", "--licence-tier", "A-permissive")
    run("covid-cxr", directory, "--output", tmp_path / "some.csv", *filters)
    everywhere = {row.image: row.split for row in read_manifest(tmp_path / "all.csv")}
    some = read_manifest(tmp_path / "some.csv")
    assert len(some) == 20
    assert {row.image: row.split for row in some}.items() <= everywhere.items()


def test_covid_masks_are_listed_only_when_asked_for(tmp_path: Path) -> None:
    directory = collection(tmp_path, "covid-cxr")
    run("covid-cxr", directory, "--output", tmp_path / "plain.csv")
    run("covid-cxr", directory, "--output", tmp_path / "masks.csv", "--with-masks")
    listed = [
        sum(row.mask is not None for row in read_manifest(tmp_path / name))
        for name in ("plain.csv", "masks.csv")
    ]
    assert listed == [0, 80]


def test_tb_lungs_takes_the_finding_as_label_and_the_stricter_licence(tmp_path: Path) -> None:
    run("tb-lungs", collection(tmp_path, "tb"), "--output", tmp_path / "tb.csv")
    rows = read_manifest(tmp_path / "tb.csv", labels=["tb", "normal"], need_mask=True)
    assert {(row.source, row.licence_tier) for row in rows} == {
        ("north", "A-permissive"),
        ("south", "B-nc-sa"),
    }


def test_drawn_marks_survive_in_extra(tmp_path: Path) -> None:
    run("covid-cxr", collection(tmp_path, "covid-cxr"), "--output", tmp_path / "all.csv")
    marks = [row.extra["drawn_marks"] for row in read_manifest(tmp_path / "all.csv")]
    assert marks == ["yes"] + [""] * 79


def test_an_unknown_source_is_a_usage_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    directory = collection(tmp_path, "covid-cxr")
    arguments = ["data", "covid-cxr", str(directory), "--source", "west"]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, "north, south" in result.output) == (2, True)


def test_a_folder_of_another_layout_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "tb-lungs", str(tmp_path)])
    assert (result.exit_code, "metadata.csv" in result.output) == (2, True)


@needs_shared
@pytest.mark.parametrize(
    ("name", "read", "pinned"),
    [
        ("tb-lungs", read_tb_lungs, "e0e7a3cddfdf02bd"),
        ("covid-cxr", read_covid_cxr, "21f67389e6566dd5"),
    ],
)
def test_the_test_films_are_the_ones_the_shipped_models_never_saw(name, read, pinned) -> None:
    """A change of the split would let networks be judged on films that they learnt from."""
    rows = read(SHARED / name)
    held_out = sorted(row.image.name for row in rows if row.split == "test")
    assert len(held_out) / len(rows) == pytest.approx(0.15, abs=0.01)
    assert sha256("\n".join(held_out).encode()).hexdigest()[:16] == pinned
