"""`cxrexport data`: a folder of films becomes a manifest with fixed splits."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrexport.cli.exits import errors_as_exit_codes

if TYPE_CHECKING:
    from cxrexport.manifest import FilmRow


class Layout(enum.StrEnum):
    """The collections that can be read."""

    COVID_CXR = "covid-cxr"
    TB_LUNGS = "tb-lungs"


def data(
    layout: Annotated[Layout, typer.Argument(help="Which collection the folder holds.")],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with metadata.csv, images/ and masks/.")
    ],
    output: Annotated[Path, typer.Option(help="The manifest to write.")] = Path("manifest.csv"),
    source: Annotated[
        list[str] | None, typer.Option(help="Keep this source only; may be given again.")
    ] = None,
    licence_tier: Annotated[
        list[str] | None,
        typer.Option(help="Keep this tier only, e.g. A-permissive; may be given again."),
    ] = None,
    with_masks: Annotated[
        bool,
        typer.Option(
            "--with-masks",
            help="covid-cxr: list V7's masks, for evaluation only (every masked film is covid). "
            "tb-lungs always lists its masks.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the split; keep it to keep the test films.")] = 0,
) -> None:
    """Write a manifest: 15 % of the films for test, 10 % for validation, by patient.

    The split is decided over the whole folder, so filters never move a patient.
    """
    from cxrexport.datasets import read_covid_cxr, read_tb_lungs, select
    from cxrexport.manifest import write_manifest

    with errors_as_exit_codes():
        if layout is Layout.COVID_CXR:
            rows = read_covid_cxr(directory, with_masks=with_masks, seed=seed)
        else:
            rows = read_tb_lungs(directory, seed=seed)
        rows = select(rows, sources=source or (), tiers=licence_tier or ())
        write_manifest(rows, output)
        _print_counts(rows)
        typer.echo(f"{len(rows)} films written to {output}", err=True)


def _print_counts(rows: Iterable[FilmRow]) -> None:
    """Print films (and patients) by source, label and split on stdout."""
    from rich.console import Console
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
    Console().print(table)
