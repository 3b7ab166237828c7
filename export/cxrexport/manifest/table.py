"""The CSV under a manifest: records with the lines where they start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrclient.files import CsvRecord, scan_table
from cxrexport.manifest.problems import raise_problems

__all__ = ["read_table"]


def read_table(path: Path, *, required: Sequence[str]) -> list[CsvRecord]:
    """Read a CSV into records, as `cxrclient.files.scan_table` does.

    Raises:
        ManifestError: not readable, not UTF-8, not a CSV, a missing column, no rows.
    """
    records, problems = scan_table(path, required=required)
    raise_problems(problems)
    return records
