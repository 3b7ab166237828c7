"""`cxrexport manifest split` and `folds`: which patients are learnt from, and which judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli import console, say
from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.errors import ManifestError

if TYPE_CHECKING:
    from cxrexport.manifest import FilmRow


def split(
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="The manifest.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The manifest with splits to write.")
    ],
    test: Annotated[
        float, typer.Option(min=0.0, max=0.49, help="Share of the films to judge by.")
    ] = 0.15,
    validation: Annotated[
        float, typer.Option(min=0.0, max=0.49, help="Share of the films to choose epochs by.")
    ] = 0.10,
    seed: Annotated[int, typer.Option(help="The same seed gives the same split.")] = 0,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Draw anew where the manifest has splits already.")
    ] = False,
    root: Annotated[
        Path | None, typer.Option(help="The folder that the manifest's paths are relative to.")
    ] = None,
) -> None:
    """Share out films to train, validate and test, with a similar mix of source and label in each.

    All films of a patient are on one side. `train`, `evaluate` and `build` take the column split.
    """
    with errors_as_exit_codes():
        from cxrexport.manifest import (
            assign_splits,
            check_splits,
            raise_problems,
            scan_manifest,
            write_manifest,
        )

        _keep(csv, output)
        rows, problems = scan_manifest(csv, root=root)
        raise_problems(fault for fault in problems if not (redraw and fault.column == "split"))
        if not redraw and any(row.split for row in rows):
            raise ManifestError(f"{csv} has splits already; give --redraw to draw them anew.")
        shares = {"test": test, "validation": validation}
        drawn = assign_splits(rows, fractions=shares, seed=seed)
        raise_problems(check_splits(drawn, csv))
        for name, share in shares.items():
            if share and not any(row.split == name for row in drawn):
                raise ManifestError(
                    f"{csv}: no patient comes into the {name} split; add films, or give a larger "
                    f"--{name}."
                )
        write_manifest(drawn, output)
        print_counts(drawn)
        say(f"{len(drawn)} films written to {output}")


def folds(
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="The manifest.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The table patient_id,fold to write.")
    ],
    count: Annotated[int, typer.Option("--folds", min=2, help="How many.")] = 5,
    root: Annotated[
        Path | None, typer.Option(help="The folder that the manifest's paths are relative to.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same folds.")] = 0,
) -> None:
    """Split patients into folds with a similar mix of source and label, for cross-validation."""
    with errors_as_exit_codes():
        from cxrexport.manifest import read_manifest
        from cxrexport.study.splits import make_folds, write_folds

        _keep(csv, output)
        dealt = make_folds(read_manifest(csv, root=root), count, seed)
        try:
            write_folds(dealt, output)
        except OSError as error:
            raise ManifestError(f"{output}: cannot be written ({error.strerror})") from error
        say(f"{len(dealt)} patients in {count} folds written to {output}")


def _keep(csv: Path, output: Path) -> None:
    if output.exists() and csv.exists() and output.samefile(csv):
        raise ManifestError(
            f"{output} is the manifest that is read; name another file for --output."
        )


def print_counts(rows: Iterable[FilmRow]) -> None:
    """Print films (and patients) by source, label and split on stdout."""
    from rich.table import Table

    films: Counter[tuple[str, str, str]] = Counter()
    patients: dict[tuple[str, str, str], set[str]] = {}
    for row in rows:
        cell = (row.source or "", row.label, row.split or "")
        films[cell] += 1
        patients.setdefault(cell, set()).add(row.patient_id)
    table = Table("source", "label", title="films (patients)")
    splits = ("train", "validation", "test")
    for split in splits:
        table.add_column(split, justify="right")
    for group in sorted({(name, label) for name, label, _ in films}):
        cells = [(*group, split) for split in splits]
        table.add_row(*group, *(f"{films[c]} ({len(patients.get(c, ()))})" for c in cells))
    console().print(table)
