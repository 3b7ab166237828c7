"""The notebooks run from the first cell to the last on a real server, and are kept with outputs."""

from __future__ import annotations

import copy
import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
_spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
assert _spec is not None
assert _spec.loader is not None
keep = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(keep)
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ids = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def run(path: Path, folder: Path) -> Any:
    """The notebook with its outputs; a cell that raises is a CellExecutionError with its text."""
    return keep.execute(path, str(folder))


def outputs(notebook: Any, kind: str) -> str:
    """All that its cells say (`text/plain`, which print is too) or show (`text/html`)."""
    said = []
    for output in (o for cell in notebook.cells for o in cell.get("outputs", ())):
        if output.output_type == "stream" and kind == "text/plain":
            said.append(output.text)  # the kernel cuts it where it pleases, within a line too
        elif output.output_type in ("execute_result", "display_data"):
            said.append(f"\n{output.data.get(kind, '')}\n")
    return "".join(said)


@pytest.fixture(scope="module")
def ran(triton_server, tmp_path_factory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_SERVER", triton_server.grpc_address)
        return {path.stem: run(path, tmp_path_factory.mktemp(path.stem)) for path in NOTEBOOKS}


def test_there_are_two() -> None:
    assert [path.name for path in NOTEBOOKS] == ["client.ipynb", "similarity.ipynb"]


@ids
def test_it_is_kept_without_anyones_kernel_machine_or_script(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.metadata == {}
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }

    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/tmp/|/home/|/root/|/work/|<script|javascript", text)
    assert len(text) < 1_000_000


@ids
def test_it_is_kept_with_what_it_shows_when_it_runs(path: Path, ran) -> None:
    """Numbers may differ from one processor to the next, words and pictures may not."""
    before, now = nbformat.read(path, as_version=4), keep.kept(copy.deepcopy(ran[path.stem]))
    counts = [cell.execution_count for cell in before.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    for kept, fresh in zip(before.cells, now.cells, strict=True):
        assert words(kept) == words(fresh), "run notebooks/execute.py"
    assert "image/png" in {kind for cell in before.cells for kind, _ in words(cell)}


def test_text_that_the_kernel_cut_is_kept_as_one() -> None:
    cut = [("stdout", "one "), ("stdout", "line"), ("stderr", "a fault"), ("stdout", "more")]
    streams = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in cut]
    cell = nbformat.v4.new_code_cell(outputs=streams)

    notebook = keep.kept(nbformat.v4.new_notebook(cells=[cell]))

    said = [(output.name, output.text) for output in notebook.cells[0].outputs]
    assert said == [("stdout", "one line"), ("stderr", "a fault"), ("stdout", "more")]


def words(cell: Any) -> list[tuple[str, str]]:
    """What a cell shows: kinds, and its text with every number made the same."""
    shown = []
    for output in cell.get("outputs", ()):
        data = output.get("data") or {output.output_type: output.text}
        for kind, value in data.items():
            text = "" if kind == "image/png" else re.sub(r'src="[^"]*"|[\d.]+', "#", value)
            shown.append((kind, re.sub(r"(non-)?covid", "class", text)))
    return shown


@ids
def test_it_runs_and_complains_of_nothing(path: Path, ran) -> None:
    cells = [cell for cell in ran[path.stem].cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    told = [o.text for cell in cells for o in cell.outputs if o.get("name") == "stderr"]
    assert told == []


@ids
def test_it_says_what_the_numbers_are_worth(path: Path, ran) -> None:
    assert "Research use only" in ran[path.stem].cells[0].source
    assert "not for clinical use" in outputs(ran[path.stem], "text/plain")


def test_the_client_shows_a_prediction_and_keeps_good_films_beside_bad_ones(ran) -> None:
    said, shown = (outputs(ran["client"], kind) for kind in ("text/plain", "text/html"))
    assert "<img src=" in shown
    assert "Research use only; not a medical device." in shown
    assert re.search(r"empty\.dcm +rejected +NOT_READABLE", said)
    assert re.search(r"not-there\.dcm +failed +FILE_UNREADABLE", said)
    assert len(re.findall(r"phantom_\d+_\d\.dcm +(?:non-)?covid +0\.\d{3}", said)) == 5
    assert "Counts(ok=3, rejected=1, failed=1)" in said
    assert len(re.findall(r"'(?:non-)?covid 0\.\d{3}'", said)) == 4


def test_the_archive_answers_and_filters(ran) -> None:
    said = outputs(ran["similarity"], "text/plain")
    assert "24 films in the archive" in said
    assert len(re.findall(r"^ +\d+\.\d\d  (?:non-)?covid", said, re.MULTILINE)) == 4
    (ages,) = re.findall(r"AP, 40 years or older: \[(.*)\]", said)
    assert all(float(age.strip(" '")) >= 40 for age in ages.split(","))
    (days,) = re.findall(r"covid, days 0 to 3: +\[(.*)\]", said)
    assert all(0 <= float(day.strip(" '")) <= 3 for day in days.split(","))
    assert re.search(r"the same label in \d+%; by chance 50%", said)


def test_the_map_has_every_film_with_its_picture_and_asks_nobody(ran) -> None:
    shown = [
        output.data
        for cell in ran["similarity"].cells
        for output in cell.get("outputs", ())
        if output.output_type == "display_data"
    ]
    plot = "".join(data.get("application/javascript", "") for data in shown)
    library = "".join(data.get("application/javascript", "") for data in shown[:1])
    assert plot.count("data:image/jpeg;base64,") == 24
    assert re.search(r'"marker".*square', plot)
    assert not re.search(r"cdn\.bokeh\.org/bokeh/release", plot)
    assert library


@pytest.mark.slow
@ids
def test_it_starts_a_server_of_its_own_where_none_is_given(path: Path, tmp_path, monkeypatch):
    monkeypatch.delenv("CXR_SERVER", raising=False)
    assert "CXR_SERVER" not in os.environ
    assert "not for clinical use" in outputs(run(path, tmp_path), "text/plain")
