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
_BREAK = "\N{ZERO WIDTH SPACE}"
_LATEX = {
    _BREAK: r"\allowbreak{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "<": "$<$",
    ">": "$>$",
    "[": "{[}",  # behind the end of a row it would be a distance
    "*": "{*}",
}
_LINE = 80
"""Characters of `\\small` on a line of an article."""
_GAP = 0.036
"""Space between two columns, as a share of the line."""
_LONG = 20
"""Rows from which a table may go on on another page."""
_NUMBERS = ("value", "low", "high")
_PREAMBLE = (
    "% Needs \\usepackage{array,booktabs,longtable}; LuaLaTeX or XeLaTeX for letters that are not "
    "Latin.\n% Research use only.\n"
)


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
    """The table for LaTeX with booktabs, no wider than the text; a long one as a `longtable`.

    Small lines stand below a cell's value.
    """
    head = " & ".join(latex_of(name) for name in table.columns)
    body = "\n".join(" & ".join(map(_latex_cell, row)) + r" \\[2pt]" for row in table.rows)
    note = f"\n\\par\\smallskip\\footnotesize {latex_of(table.note)}" if table.note else ""
    caption = f"\\caption{{{latex_of(table.title)}}}"
    size, columns = _latex_columns(table)
    top, rows = f"\\toprule\n{head} \\\\\n\\midrule\n", f"{body}\n\\bottomrule\n"
    if len(table.rows) > _LONG:
        return (
            f"{_PREAMBLE}\\begingroup\n{size}\n\\begin{{longtable}}{{{columns}}}\n"
            f"{caption} \\\\\n{top}\\endhead\n{rows}\\end{{longtable}}{note}\n\\endgroup\n"
        )
    return (
        f"{_PREAMBLE}\\begin{{table}}\n\\centering{size}\n{caption}\n"
        f"\\begin{{tabular}}{{{columns}}}\n{top}{rows}\\end{{tabular}}{note}\n\\end{{table}}\n"
    )


def _latex_columns(table: Table) -> tuple[str, str]:
    """Size of the letters and columns: each as wide as its text, if all together are not too wide.

    Else each has its longest word's width, and what is left goes where the longest lines are.
    """
    lines = [
        [name, *(line for row in table.rows for line in _lines(row[place]))]
        for place, name in enumerate(table.columns)
    ]
    natural = [max(map(len, column)) + 1 for column in lines]
    split = re.compile(rf"[\s{_BREAK}]")
    words = [max(map(len, split.split(" ".join(column)))) + 1 for column in lines]
    size, line = r"\small", float(_LINE)
    if sum(words) > line * (1 - _GAP * len(words)):
        size, line = r"\scriptsize", 1.3 * _LINE
    room = line * (1 - _GAP * len(words))
    widths: list[float] = [*map(float, natural)]
    if sum(natural) > room:
        spare = max(room - sum(words), 0) / sum(natural)
        widths = [word + spare * most for word, most in zip(words, natural, strict=True)]
        widths = [width * min(1, room / sum(widths)) for width in widths]
    return size, "".join(
        rf">{{\raggedright\arraybackslash}}p{{{width / line:.3f}\linewidth}}" for width in widths
    )


def _latex_cell(cell: Cell) -> str:
    return r"\newline ".join(map(latex_of, _lines(cell)))


def _lines(cell: Cell) -> list[str]:
    """A cell's lines but empty ones, which LaTeX cannot end; a digest may be broken."""
    texts = (cell.text, *(line.text for line in cell.lines))
    return [re.sub(r"([0-9a-f]{16})(?=[0-9a-f])", rf"\1{_BREAK}", text) for text in texts if text]


def latex_of(text: str) -> str:
    """Text in which nothing is a LaTeX command; a number stays with its per cent."""
    return "".join(_LATEX.get(char, char) for char in text).replace(r" \%", r"~\%")


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
