"""`cxrexport manifest split` gives every film a side: by patient, alike in label, by a seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.manifest import FilmRow, assign_splits, read_manifest, write_manifest


def split(*words):
    return CliRunner().invoke(app, ["manifest", "split", *map(str, words)])


@pytest.fixture
def manifest(tmp_path):
    """Forty patients of two hospitals with two films each, and no splits."""
    rows = []
    for n in range(80):
        image = tmp_path / f"{n}.png"
        image.write_bytes(b"not decoded here")
        rows.append(
            FilmRow(
                image=image,
                patient_id=f"p{n // 2}",
                label="tb" if n // 2 % 2 else "normal",
                source="north" if n < 40 else "south",
                extra={"ward": f"w{n}"},
            )
        )
    write_manifest(rows, tmp_path / "own.csv")
    return tmp_path / "own.csv"


def test_the_written_manifest_has_the_split_and_all_that_it_had(manifest, tmp_path):
    result = split(manifest, "--output", tmp_path / "split.csv", "--seed", 3)
    assert result.exit_code == 0, result.output
    rows = read_manifest(manifest)
    written = read_manifest(tmp_path / "split.csv")
    assert written == assign_splits(rows, seed=3)
    assert [replace(row, split=None) for row in written] == list(rows)
    strata = {(row.source, row.label, row.split) for row in written}
    assert len(strata) == 2 * 2 * 3, "every side has every label of every hospital"


def test_shares_are_those_asked_for(manifest, tmp_path):
    words = ("--output", tmp_path / "split.csv", "--test", 0.4, "--validation", 0)
    assert split(manifest, *words).exit_code == 0
    sides = [row.split for row in read_manifest(tmp_path / "split.csv")]
    assert (sides.count("test"), sides.count("validation")) == (32, 0)


def test_splits_that_are_there_are_only_drawn_anew_when_asked(manifest, tmp_path):
    rows = read_manifest(manifest)
    # One patient is in two splits, which no other command would take.
    mixed = [replace(row, split="train" if n % 2 else "test") for n, row in enumerate(rows)]
    write_manifest(mixed, tmp_path / "mixed.csv")
    write_manifest([replace(row, split="train") for row in rows], tmp_path / "train.csv")
    refused = split(tmp_path / "train.csv", "--output", tmp_path / "split.csv")
    assert refused.exit_code == 2
    assert "has splits already; give --redraw to draw them anew" in refused.output
    assert not (tmp_path / "split.csv").exists()
    again = split(tmp_path / "mixed.csv", "--output", tmp_path / "split.csv", "--redraw")
    assert again.exit_code == 0, again.output
    assert read_manifest(tmp_path / "split.csv") == assign_splits(rows, seed=0)


@pytest.mark.parametrize("command", ["split", "folds"])
def test_the_manifest_that_is_read_is_not_overwritten(command, manifest, tmp_path):
    before = manifest.read_bytes()
    same = tmp_path / "link.csv"
    same.symlink_to(manifest)
    for output in (manifest, same):
        words = ["manifest", command, str(manifest), "--output", str(output)]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2
        assert "name another file for --output" in " ".join(result.output.split())
    assert manifest.read_bytes() == before


@pytest.mark.parametrize(
    ("more_tb", "sentence"),
    [(False, "no patient comes into the test split; add films"), (True, "split has no normal")],
)
def test_a_split_that_nothing_can_be_judged_by_is_not_written(
    more_tb, sentence, manifest, tmp_path
):
    rows = [row for row in read_manifest(manifest) if row.patient_id in ("p0", "p1", "p3", "p5")]
    if more_tb:
        rows = [*rows, *(row for row in read_manifest(manifest) if row.label == "tb")]
    write_manifest(dict.fromkeys(rows), tmp_path / "few.csv")
    result = split(tmp_path / "few.csv", "--output", tmp_path / "split.csv")
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())
    assert not (tmp_path / "split.csv").exists()
