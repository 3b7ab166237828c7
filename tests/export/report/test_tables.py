"""Tables, scores and checklists as files that a spreadsheet, LaTeX and a journal take."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from cxrexport.evaluation.assess import Assessment
from cxrexport.evaluation.collection import collection_of
from cxrexport.evaluation.comparison import compare
from cxrexport.evaluation.measures import Interval
from cxrexport.evaluation.scores import Evidence, Scores, Trial
from cxrexport.manifest import FilmRow
from cxrexport.report.chapters.blocks import Cell, SmallLine, Table
from cxrexport.report.chapters.numbers import interval_cell
from cxrexport.report.checklists import AUTHOR, checklists
from cxrexport.report.page import write_report
from cxrexport.report.tables import latex_of, scores_csv, table_csv, table_latex

TABLE = Table(
    "Films & shares, in 100 %",
    ("", "loss", "loss"),
    (
        (Cell("a_1", (SmallLine("of 7"),), head=True), interval_cell(Interval(0.5, 0.25, 0.75)),
         Cell("x")),
        (Cell("=cmd", head=True), Cell("cannot be judged"), Cell("", (SmallLine("why"),))),
    ),
    "A note\N{EN DASH}here.",
)  # fmt: skip


@pytest.fixture(scope="module")
def evidence():
    films = tuple(
        FilmRow(
            image=Path(f"/films/{i}.png"),
            patient_id=f"p{i // 2}",
            label=("normal", "tb")[i % 2],
            row=i + 2,
        )
        for i in range(12)
    )
    margins = {"vgg16": np.linspace(-2, 2, 12), "resnet50": np.linspace(-1, 3, 12)}
    test = Scores(films, ("normal", "tb"), margins, listed=("vgg16", "resnet50"))
    return Evidence(test.labels, (Trial("run", None, None, test),), folds=False)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_table_s_csv_has_what_is_printed_and_the_numbers_behind_it() -> None:
    first, second = rows_of(table_csv(TABLE))
    assert first["row"] == "a_1; of 7"
    assert first["loss (1)"] == "0.500; 0.250\N{EN DASH}0.750"
    numbers = [float(first[f"loss (1): {name}"]) for name in ("value", "low", "high")]
    assert numbers == [0.5, 0.25, 0.75]
    assert (second["loss (1)"], second["loss (1): low"]) == ("cannot be judged", "")
    assert second["row"] == "'=cmd", "a spreadsheet would run it"


def test_a_table_s_latex_has_all_cells_and_nothing_that_latex_takes_for_a_command() -> None:
    text = table_latex(TABLE)
    assert r"\caption{Films \& shares, in 100~\%}" in text
    assert r"a\_1\newline of 7 & 0.500\newline 0.250--0.750 & x \\[2pt]" in text
    assert r"=cmd & cannot be judged & why \\" in text
    assert text.count("{") == text.count("}")
    assert latex_of(r"$x$ \input{a}~^<") == (
        r"\$x\$ \textbackslash{}input\{a\}\textasciitilde{}\textasciicircum{}$<$"
    )
    assert latex_of("[1mm] *") == "{[}1mm] {*}", "behind the end of a row these would be read by it"


@pytest.mark.parametrize(
    ("texts", "size"),
    [
        (("film", "0.5", "normal"), "small"),
        (("word " * 60, "0.250\N{EN DASH}0.750", "a" * 9), "small"),
        (("word " * 60, "y" * 40, "z" * 40), "scriptsize"),
        (("x" * 70, "y" * 70, "z" * 70), "scriptsize"),
        (("58869a888492f50915f512a2bdeb80b785fc4bc80e769429ebc645672b58f8db", "", ""), "small"),
    ],
)
def test_a_table_s_latex_is_no_wider_than_the_text(texts: tuple[str, ...], size: str) -> None:
    text = table_latex(Table("T", ("a", "b", "c"), (tuple(map(Cell, texts)),)))
    widths = [float(width) for width in re.findall(r"p\{([0-9.]+)\\linewidth\}", text)]
    assert len(widths) == 3
    assert sum(widths) <= 0.9
    assert f"\\{size}" in text
    longest = max(len(word) for word in texts[0].split())
    assert (r"\allowbreak{}" in text) == (longest == 64)


def test_a_table_of_many_rows_goes_on_on_another_page_in_latex() -> None:
    text = table_latex(Table("T", ("a",), ((Cell("x"),),) * 30))
    assert text.index(r"\begin{longtable}") < text.index(r"\endhead") < text.index("x")
    assert r"\begin{table}" not in text


def test_each_film_s_scores_stand_in_a_row(evidence) -> None:
    rows = rows_of(scores_csv(evidence, 0.5))
    test = evidence.pooled
    assert [row["film"] for row in rows] == [film.image.name for film in test.films]
    np.testing.assert_allclose([float(r["probability"]) for r in rows], test.ensemble(), atol=1e-6)
    np.testing.assert_allclose(
        [float(r["resnet50"]) for r in rows], test.probability("resnet50"), atol=1e-6
    )
    right = (test.ensemble() > 0.5) == test.truth
    assert [row["right"] for row in rows] == [str(int(one)) for one in right]
    assert [row["patient"] for row in rows] == [str(1 + i // 2) for i in range(12)]
    assert rows[3]["line"] == "5"


@pytest.fixture(scope="module")
def results(evidence):
    return Assessment(
        title="A run",
        labels=evidence.labels,
        folds=False,
        collection=collection_of(evidence),
        comparison=compare(evidence, bootstrap=20),
        facts={"weights of vgg16": "abc"},
    )


def test_checklists_have_every_item_and_say_what_is_known(results) -> None:
    claim, tripod = (chapter.blocks[1] for chapter in checklists(results))
    assert [row[0].text for row in claim.rows] == [str(number) for number in range(1, 45)]
    assert len({row[0].text.rstrip("abcdefg") for row in tripod.rows}) == 27
    assert len(tripod.rows) == 52
    known = {row[0].text: row[2].text for row in claim.rows}
    assert "12 films of 6 patients, 6 of them tb" in known["35"]
    ensemble = results.comparison.row("ensemble").over_trials
    assert f"ROC AUC {ensemble.roc_auc.value:.3f}" in known["38"]
    assert known["20"] == known["44"] == AUTHOR, "no training films: nothing is known of sides"
    assert "mean of the probabilities of vgg16, resnet50" in known["27"].lower()


def test_checklists_say_of_a_lung_network_that_it_was_not_trained_here(results) -> None:
    note = "The lung network is that of repository x, not trained here."
    facts = {"weights of segment": "0", "weights of vgg16": "1", "starting weights": "from scratch"}
    claim = checklists(replace(results, facts=facts, lungs_note=note))[0].blocks[1]
    known = {row[0].text: row[2].text for row in claim.rows}
    assert "Networks: segment (not trained here), vgg16." in known["22"]
    assert known["24"] == f"Classifiers: from scratch. {note}"
    claim = checklists(replace(results, facts=facts))[0].blocks[1]
    known = {row[0].text: row[2].text for row in claim.rows}
    assert "Networks: segment, vgg16." in known["22"]
    assert known["24"] == "from scratch"


def test_tables_and_checklists_stand_beside_the_report(results, tmp_path) -> None:
    write_report(tmp_path, results, ())
    csvs = sorted((tmp_path / "tables").glob("*.csv"))
    assert [path.with_suffix(".tex").is_file() for path in csvs] == [True] * len(csvs)
    assert {"03-networks-ensemble-and-vote", "01-films-by-source"} & {p.stem for p in csvs}
    assert any("claim" in path.stem for path in csvs)
    page = (tmp_path / "checklists.html").read_text()
    assert "TRIPOD+AI" in page
    assert AUTHOR in page
    assert {path.stat().st_mode & 0o077 for path in csvs} == {0}


def test_tables_of_an_earlier_report_do_not_stay(results, tmp_path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/99-of-another-report.csv").write_text("a\n1\n")
    (tmp_path / "tables/mine.csv").write_text("a\n1\n")
    write_report(tmp_path, results, ())
    assert not (tmp_path / "tables/99-of-another-report.csv").exists()
    assert (tmp_path / "tables/mine.csv").exists()


def test_the_citation_is_of_this_version(pytestconfig) -> None:
    root = pytestconfig.rootpath
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert (citation["cff-version"], citation["title"]) == ("1.2.0", project["name"])
    assert citation["version"] == project["version"]
    assert " AND ".join(citation["license"]) == project["license"]
