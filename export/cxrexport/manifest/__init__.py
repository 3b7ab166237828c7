"""A manifest: the CSV of films that everything learns from and is judged on.

One row is one film. Columns `image`, `patient_id` and `label` are required; `mask`, `view`, `sex`,
`age`, `offset_days`, `offset_meaning`, `source`, `finding`, `hard`, `licence_tier` and `split` are
known; whatever else a site adds is kept in `FilmRow.extra`. A wrong cell is cheap before a training
run and dear after it, so reading checks every cell and reports every problem of every row at once.

    cells     one cell: its value, or what is wrong
    rows      records become films
    splits    by patient: drawn, and checked
    files     read and write
    films     the files that rows name: decoded once, compared with each other and with their masks
    masks     a lung mask's file
    preprocessed  rows become films as the server sees them
    problems  what is wrong, and how it is raised

`films` decodes, so it is imported by those who need it: `cxrexport.manifest.films`.
"""

from __future__ import annotations

from cxrexport.manifest.cells import Sex as Sex, Split as Split
from cxrexport.manifest.files import (
    read_manifest as read_manifest,
    read_table as read_table,
    scan_manifest as scan_manifest,
    write_manifest as write_manifest,
)
from cxrexport.manifest.problems import raise_problems as raise_problems
from cxrexport.manifest.rows import FilmRow as FilmRow, parse_records as parse_records
from cxrexport.manifest.splits import assign_splits as assign_splits, check_splits as check_splits
