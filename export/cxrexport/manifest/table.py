"""The CSV under a manifest: records with the lines where they start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrclient import files
from cxrclient.files import CsvRecord
from cxrexport.manifest.problems import Problem, raise_problems

__all__ = ["read_table", "scan_table"]


def read_table(path: Path, *, required: Sequence[str]) -> Sequence[CsvRecord]:
    """Read a CSV into records; see `cxrclient.files.read_table`.

    Raises:
        ManifestError: not readable, not UTF-8, not a CSV, a missing column, no rows.
    """
    records, problems = scan_table(path, required=required)
    raise_problems(problems)
    return records


def scan_table(path: Path, *, required: Sequence[str]) -> tuple[Sequence[CsvRecord], list[Problem]]:
    """Read a CSV as far as it can be read; what cannot be is a problem, nothing raises."""
    table = files.read_table(path, required)
    problems = [Problem(path, f.line, f.column, f.what, "TABLE") for f in table.faults]
    return table.records, problems
