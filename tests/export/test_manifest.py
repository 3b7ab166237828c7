"""Manifests: what is read, what is refused and where it points, and how splits are made."""

from __future__ import annotations

import csv
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.datasets import read_covid_cxr, read_tb_lungs
from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, assign_splits, read_manifest, write_manifest

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not (SHARED / "covid-cxr" / "metadata.csv").is_file(),
    reason="the development films (../shared/data) are not on this machine",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with four films and one mask; contents do not matter to a manifest."""
    for name in ("a.dcm", "b.png", "c.jpg", "d.png", "a_mask.png"):
        (tmp_path / name).write_bytes(b"film")
    return tmp_path


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "manifest.csv"
    path.write_bytes(text.encode(encoding))
    return path


def problems(path: Path, **options: object) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, **options)  # type: ignore[arg-type]
    lines = caught.value.message.splitlines()
    return lines[1:] if lines[0].endswith("problems:") else lines


# --- reading ---------------------------------------------------------------------------------


def test_every_known_column_gets_its_type_and_unknown_columns_are_kept(folder: Path) -> None:
    path = written(
        folder,
        "image,patient_id,label,mask,view,sex,age,offset_days,offset_meaning,source,finding,hard,"
        "licence_tier,split,treatment\n"
        'a.dcm, p1 ,covid,a_mask.png,AP,f,61.5,-2,since admission,"Hospital, north",pneumonia,yes,'
        "A-permissive,test,oxygen\n",
    )
    assert read_manifest(path) == (
        FilmRow(
            image=folder / "a.dcm",
            mask=folder / "a_mask.png",
            patient_id="p1",
            label="covid",
            view="AP",
            sex="F",
            age=61.5,
            offset_days=-2.0,
            offset_meaning="since admission",
            source="Hospital, north",
            finding="pneumonia",
            hard=True,
            licence_tier="A-permissive",
            split="test",
            extra={"treatment": "oxygen"},
        ),
    )


def test_empty_optional_cells_read_as_nothing(folder: Path) -> None:
    path = written(folder, "image,patient_id,label,sex,age,hard,split\na.dcm,p1,covid,,,,\n")
    (row,) = read_manifest(path)
    assert (row.sex, row.age, row.hard, row.split, row.mask) == (None, None, False, None, None)


def test_relative_paths_start_at_root_when_given(folder: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = written(elsewhere, "image,patient_id,label\na.dcm,p1,covid\n")
    assert read_manifest(path, root=folder)[0].image == folder / "a.dcm"


def test_images_are_absolute_even_from_a_relative_manifest_path(folder: Path, monkeypatch) -> None:
    written(folder, "image,patient_id,label\na.dcm,p1,covid\n")
    monkeypatch.chdir(folder)
    assert read_manifest("manifest.csv")[0].image.is_absolute()


def test_a_byte_order_mark_and_empty_lines_of_a_spreadsheet_are_fine(folder: Path) -> None:
    path = written(
        folder, "image,patient_id,label\r\n\r\na.dcm,p1,covid\r\n,,\r\n", encoding="utf-8-sig"
    )
    assert [row.row for row in read_manifest(path)] == [3]


def test_row_is_the_line_where_the_record_starts_also_after_a_cell_with_line_breaks(
    folder: Path,
) -> None:
    path = written(
        folder, 'image,patient_id,label,note\na.dcm,p1,covid,"one\ntwo"\nb.png,p2,covid,\n'
    )
    assert [row.row for row in read_manifest(path)] == [2, 4]


# --- refusing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("image", "gone.png", "no such file: gone.png"),
        ("image", "", "empty"),
        ("image", "x\0y", "no such file"),
        ("mask", "gone.png", "no such file: gone.png"),
        ("patient_id", "", "empty"),
        ("patient_id", "   ", "empty"),
        ("label", "", "empty"),
        ("label", "Covid", "unknown label 'Covid'; known are covid, non-covid"),
        ("sex", "W", "'W' is not F or M"),
        ("age", "077Y", "'077Y' is a DICOM age string"),
        ("age", "-1", "'-1' is no age"),
        ("age", "nan", "'nan' is not a number"),
        ("age", "999", "'999' is no age"),
        ("offset_days", "three", "'three' is not a number"),
        ("offset_days", "inf", "'inf' is not a number"),
        ("hard", "maybe", "'maybe' is neither yes nor no"),
        ("split", "dev", "unknown split 'dev'; known are train, validation, test"),
    ],
)
def test_a_bad_cell_is_named_with_file_line_and_column(
    folder: Path, column: str, value: str, what: str
) -> None:
    cells = {"image": "a.dcm", "patient_id": "p1", "label": "covid", column: value}
    path = written(folder, f"{','.join(cells)}\n{','.join(cells.values())}\n")
    (problem,) = problems(path, labels=["covid", "non-covid"])
    assert problem.startswith(f"{path}:2: {column}: {what}")


def test_all_problems_of_all_rows_are_reported_at_once(folder: Path) -> None:
    path = written(
        folder,
        "image,patient_id,label,age\ngone.png,,covid,077Y\nb.png,p2,flu,\nc.jpg,p3,covid,-1\n",
    )
    found = [p.removeprefix(f"{path}:").split(":")[:2] for p in problems(path, labels=["covid"])]
    assert sorted(found) == [
        ["2", " age"],
        ["2", " image"],
        ["2", " patient_id"],
        ["3", " label"],
        ["4", " age"],
    ]


def test_a_mask_is_asked_for_where_it_is_needed(folder: Path) -> None:
    path = written(folder, "image,patient_id,label,mask\na.dcm,p1,tb,a_mask.png\nb.png,p2,tb,\n")
    (problem,) = problems(path, need_mask=True)
    assert problem.startswith(f"{path}:3: mask: empty")


def test_a_patient_in_two_splits_is_refused(folder: Path) -> None:
    path = written(
        folder, "image,patient_id,label,split\na.dcm,p1,covid,train\nb.png,p1,covid,test\n"
    )
    (problem,) = problems(path)
    assert problem == f"{path}:3: split: patient p1 is in test here and in train in line 2"


def test_a_patient_half_of_whose_films_have_no_split_is_refused(folder: Path) -> None:
    path = written(folder, "image,patient_id,label,split\na.dcm,p1,covid,test\nb.png,p1,covid,\n")
    assert "in no split here and in test in line 2" in problems(path)[0]


def test_the_same_film_in_two_rows_is_refused_however_its_path_is_spelled(folder: Path) -> None:
    path = written(folder, "image,patient_id,label\na.dcm,p1,covid\n./a.dcm,p2,covid\n")
    (problem,) = problems(path)
    assert problem == (
        f"{path}:3: image: the same film as in line 2 (the same file); patient p2 here, p1 in line 2: "
        "no split by patient keeps them on one side"
    )


def test_every_missing_column_is_named(folder: Path) -> None:
    path = written(folder, "image,patient\na.dcm,p1\n")
    assert problems(path) == [
        f"{path}:1: patient_id: the column is missing",
        f"{path}:1: label: the column is missing",
    ]


def test_a_table_separated_by_semicolons_is_recognised(folder: Path) -> None:
    path = written(folder, "image;patient_id;label\na.dcm;p1;covid\n")
    assert "separated by semicolons" in problems(path)[0]


def test_a_column_that_is_there_twice_is_refused(folder: Path) -> None:
    path = written(folder, "image,patient_id,label,label\na.dcm,p1,covid,non-covid\n")
    assert problems(path) == [f"{path}:1: label: the column is there twice"]


def test_a_row_of_the_wrong_length_is_refused_and_the_others_are_still_counted(
    folder: Path,
) -> None:
    path = written(folder, "image,patient_id,label\na.dcm,p1,covid,AP\nb.png,p2\n")
    assert [p.split(":")[1] for p in problems(path)] == ["2", "3"]


def test_an_unclosed_quote_is_refused_with_the_line_where_it_opens(folder: Path) -> None:
    path = written(folder, 'image,patient_id,label\na.dcm,p1,covid\nb.png,"p2,covid\nc.jpg,p3,x\n')
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:3: not a CSV row")


def test_a_file_that_is_not_utf8_is_refused_with_its_line(folder: Path) -> None:
    path = written(folder, "image,patient_id,label\na.dcm,p1,covid\nb.png,Müller,x\n", "latin-1")
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:3: not UTF-8")


@pytest.mark.parametrize("text", ["", "image,patient_id,label\n"])
def test_a_manifest_without_rows_is_refused(folder: Path, text: str) -> None:
    path = written(folder, text)
    assert "no rows" in problems(path)[0]


def test_a_manifest_that_is_not_there_or_is_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        assert "cannot be read" in problems(path)[0]


# --- writing ---------------------------------------------------------------------------------

cell = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), min_size=1
).filter(lambda text: text == text.strip())


@settings(max_examples=60)
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


# --- splits ----------------------------------------------------------------------------------

collections = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from("abc"), st.sampled_from(["covid", "non-covid"])),
    min_size=1,
    max_size=200,
).map(
    lambda films: [
        FilmRow(image=Path(f"/{n}.png"), patient_id=str(patient), source=source, label=label)
        for n, (patient, source, label) in enumerate(films)
    ]
)


@given(rows=collections, seed=st.integers(0, 5))
def test_no_patient_is_ever_in_two_splits(rows: list[FilmRow], seed: int) -> None:
    split = assign_splits(rows, seed=seed)
    assert len({(r.patient_id, r.split) for r in split}) == len({r.patient_id for r in rows})


@given(rows=collections, order=st.randoms())
def test_splits_do_not_depend_on_the_order_of_the_rows(rows: list[FilmRow], order) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    by_image = {r.image: r.split for r in assign_splits(shuffled)}
    assert {r.image: r.split for r in assign_splits(rows)} == by_image


def patients(count: int, films: int, source: str, label: str) -> list[FilmRow]:
    return [
        FilmRow(
            image=Path(f"/{source}{label}{p}-{f}.png"),
            patient_id=f"{source}{label}{p}",
            source=source,
            label=label,
        )
        for p in range(count)
        for f in range(films)
    ]


def test_every_stratum_has_its_share_to_within_half_a_patient() -> None:
    rows = [
        *patients(40, 5, "north", "covid"),
        *patients(100, 1, "north", "non-covid"),
        *patients(60, 2, "south", "covid"),
    ]
    split = assign_splits(rows, fractions={"test": 0.15, "validation": 0.10})
    for stratum, films in (
        (("north", "covid"), 5),
        (("north", "non-covid"), 1),
        (("south", "covid"), 2),
    ):
        inside = [r for r in split if (r.source, r.label) == stratum]
        for name, fraction in (("test", 0.15), ("validation", 0.10)):
            share = sum(r.split == name for r in inside)
            assert abs(share - fraction * len(inside)) <= films / 2


def test_another_seed_makes_another_split() -> None:
    rows = patients(100, 1, "north", "covid")
    assert assign_splits(rows, seed=0) != assign_splits(rows, seed=1)


def test_a_split_that_was_there_is_made_anew() -> None:
    rows = patients(100, 1, "north", "covid")
    marked = [replace(row, split="test") for row in rows]
    assert assign_splits(marked) == assign_splits(rows)


@pytest.mark.parametrize(
    "fractions", [{"dev": 0.1}, {"test": -0.1}, {"test": 0.6, "validation": 0.4}]
)
def test_fractions_that_make_no_sense_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="fractions"):
        assign_splits(patients(3, 1, "north", "covid"), fractions=fractions)


# --- cxrexport data --------------------------------------------------------------------------


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
