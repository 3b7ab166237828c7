"""Manifests: what is written reads back the same, and finds its films again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, read_manifest, write_manifest

cell = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), min_size=1
).filter(lambda text: text == text.strip())


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_written_reads_back_the_same(tmp_path_factory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("written")
    rows = []
    for index in range(data.draw(st.integers(1, 3))):
        image = folder / f"film {index}, left.png"
        image.touch()
        row = FilmRow(
            image=image,
            mask=data.draw(st.sampled_from([None, image])),
            patient_id=f"{index}{data.draw(cell)}",
            label=data.draw(cell),
            sex=data.draw(st.sampled_from(["F", "M", None])),
            age=data.draw(st.none() | st.floats(0, 120)),
            offset_days=data.draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
            source=data.draw(st.none() | cell),
            hard=data.draw(st.booleans()),
            split=data.draw(st.sampled_from(["train", "validation", "test", None])),
            extra={"note": data.draw(cell), "dose": data.draw(cell)},
        )
        rows.append(row)
    write_manifest(rows, folder / "manifest.csv")
    assert read_manifest(folder / "manifest.csv") == tuple(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.dcm").write_bytes(b"film")
    return tmp_path


def test_films_in_the_manifests_folder_move_with_it(folder: Path, tmp_path_factory) -> None:
    rows = [FilmRow(image=folder / "a.dcm", patient_id="p", label="covid")]
    write_manifest(rows, folder / "manifest.csv")
    moved = tmp_path_factory.mktemp("parent") / "moved"
    folder.rename(moved)
    assert read_manifest(moved / "manifest.csv")[0].image == moved / "a.dcm"


def test_films_outside_the_manifests_folder_are_found_again(folder: Path, tmp_path_factory) -> None:
    rows = [FilmRow(image=folder / "a.dcm", patient_id="p", label="covid")]
    path = tmp_path_factory.mktemp("elsewhere") / "new" / "manifest.csv"
    write_manifest(rows, path)
    assert read_manifest(path)[0].image == folder / "a.dcm"


def test_a_place_that_cannot_be_written_is_a_manifest_error(folder: Path) -> None:
    rows = [FilmRow(image=folder / "a.dcm", patient_id="p", label="covid")]
    with pytest.raises(ManifestError, match="cannot be written"):
        write_manifest(rows, folder / "a.dcm" / "manifest.csv")
