"""Tables as files: CSV for a spreadsheet, LaTeX for a paper; each film's scores as CSV."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from cxrclient.files import csv_text, private_folder, write_whole
from cxrexport.evaluation.measures import Interval
from cxrexport.evaluation.scores import Evidence
from cxrexport.report.chapters.blocks import Cell, Chapter, Table

SCORES = "scores.csv"
FOLDER = "tables"
_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
}
_NUMBERS = ("value", "low", "high")
_PREAMBLE = "% Needs \\usepackage{booktabs,makecell}. Research use only.\n"


def write_tables(output: Path, chapters: Sequence[Chapter]) -> list[Path]:
    """Write `tables/NN-TITLE.csv` and `.tex` for every table, in the report's order.

    Args:
        output: the report's folder.
        chapters: of the report.

    Returns:
        The CSV files; each has its LaTeX beside it.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = output / FOLDER
    private_folder(folder)
    for old in (*folder.glob("[0-9][0-9]-*.csv"), *folder.glob("[0-9][0-9]-*.tex")):
        old.unlink()  # of an earlier report, which may have had other tables
    written = []
    tables = [block for chapter in chapters for block in chapter.blocks if block.kind == "table"]
    for number, table in enumerate(tables, start=1):
        path = folder / f"{number:02}-{_slug(table.title)}.csv"
        write_whole(path, table_csv(table), secret=True, sync=False)
        write_whole(path.with_suffix(".tex"), table_latex(table), secret=True, sync=False)
        written.append(path)
    return written


def table_csv(table: Table) -> str:
    """The table as CSV: cells as printed, beside an interval its value and ends as numbers."""
    numbered = [
        any(cell.interval is not None for cell in column)
        for column in zip(*table.rows, strict=True)
    ]
    columns = [name or "row" for name in table.columns]
    names = []
    for place, (name, has_numbers) in enumerate(zip(columns, numbered, strict=True)):
        # A column's name may stand twice, as "loss" does for the whole set and within a source.
        unique = f"{name} ({place})" if columns.count(name) > 1 else name
        names += [unique, *(f"{unique}: {number}" for number in _NUMBERS if has_numbers)]
    return csv_text(names, [_csv_row(row, numbered) for row in table.rows])


def _csv_row(row: Sequence[Cell], numbered: Sequence[bool]) -> list[str]:
    cells = []
    for cell, has_numbers in zip(row, numbered, strict=True):
        texts = (cell.text, *(line.text for line in cell.lines))
        cells.append("; ".join(text for text in texts if text))
        if has_numbers:
            found = cell.interval or Interval.undefined("")
            ends = (found.value, found.low, found.high)
            cells += ["" if end is None else f"{end:.6g}" for end in ends]
    return cells


def table_latex(table: Table) -> str:
    """The table as a LaTeX `table` of booktabs; small lines stand below a cell's value."""
    head = " & ".join(latex_of(name) for name in table.columns)
    body = "\n".join(" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows)
    note = f"\n\\par\\smallskip\\footnotesize {latex_of(table.note)}" if table.note else ""
    return (
        f"{_PREAMBLE}\\begin{{table}}\n\\centering\\small\n"
        f"\\caption{{{latex_of(table.title)}}}\n"
        f"\\begin{{tabular}}{{{'l' * len(table.columns)}}}\n\\toprule\n{head} \\\\\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}{note}\n\\end{{table}}\n"
    )


def _latex_cell(cell: Cell) -> str:
    lines = [latex_of(text) for text in (cell.text, *(line.text for line in cell.lines))]
    return lines[0] if len(lines) == 1 else r"\makecell[tl]{" + r" \\ ".join(lines) + "}"


def latex_of(text: str) -> str:
    """Text in which nothing is a LaTeX command."""
    return "".join(_LATEX.get(char, char) for char in text)


def scores_csv(evidence: Evidence, threshold: float) -> str:
    """A row for each test film of each trial: for the owner alone, since it names the files.

    Patients are numbered, so that films of one patient can be kept together. A film is called
    positive above the threshold.
    """
    pooled = evidence.pooled
    patients: dict[str, int] = {}
    names = list(pooled.margins)
    columns = ["trial", "line", "film", "patient", "source", "label", "positive", "probability",
               "called_positive", "right", *names]  # fmt: skip
    rows: list[list[object]] = []
    for trial in evidence.trials:
        test = trial.test
        if not test.members:
            continue
        ensemble = test.ensemble()
        each = [test.probability(name) for name in names]
        for place, film in enumerate(test.films):
            positive, called = bool(test.truth[place]), bool(ensemble[place] > threshold)
            number = patients.setdefault(film.patient_id, len(patients) + 1)
            rows.append([
                trial.name, film.row, film.image.name, number, film.source, film.label,
                int(positive), f"{ensemble[place]:.6f}", int(called), int(positive == called),
                *(f"{one[place]:.6f}" for one in each),
            ])  # fmt: skip
    return csv_text(columns, rows)


def _slug(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", plain)[:7])
