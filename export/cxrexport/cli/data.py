"""`cxrexport data`: a collection of films becomes a manifest with fixed splits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrclient.cli import say
from cxrclient.files import csv_text, write_whole
from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.cli.manifest import print_counts
from cxrexport.errors import ManifestError

if TYPE_CHECKING:
    from cxrexport.datasets import Collected, LeftOut

Layout = Literal[
    "covid-cxr", "tb-lungs", "nih", "montgomery-shenzhen", "covid-chestxray", "hannover"
]


def data(
    layout: Annotated[Layout, typer.Argument(help="Which collection the folder holds.")],
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The collection's folder.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="The collection's folder, as an option."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest to write.")] = Path(
        "manifest.csv"
    ),
    positive: Annotated[
        str | None,
        typer.Option(
            metavar="FINDING",
            help="nih: films with this finding against films of No Finding (labels e.g. pneumonia "
            "and normal); without it all are non-covid, because they are older than the disease. "
            "covid-chestxray: films with this finding (default COVID-19) against all others.",
        ),
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Keep only this source. Repeatable.")
    ] = None,
    licence_tier: Annotated[
        list[str] | None,
        typer.Option(help="Keep only this licence tier, e.g. A-permissive. Repeatable."),
    ] = None,
    with_masks: Annotated[
        bool,
        typer.Option(
            "--with-masks",
            help="covid-cxr: list V7's masks, for evaluation only (every masked film is covid). "
            "tb-lungs and montgomery-shenzhen always list their masks.",
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Seed of the split. The same seed gives the same test films.")
    ] = 0,
) -> None:
    """Write a manifest: 15 % of the films for test, 10 % for validation, by patient.

    Labels: covid and non-covid (covid-cxr, covid-chestxray, nih; hannover is all covid), tb and
    normal (tb-lungs, montgomery-shenzhen). The split is made over the whole folder, so filters
    never move a patient.

    Films that are left out (lateral views, CT, missing files, …) are counted by reason and listed
    in manifest.excluded.csv. Montgomery's left and right masks are joined in manifest.masks/.
    """
    from cxrexport.datasets import select
    from cxrexport.manifest import write_manifest

    if (directory is None) == (root is None):
        raise typer.BadParameter("name the collection's folder once: DIR or --root DIR")
    if positive is not None and layout not in ("nih", "covid-chestxray"):
        raise typer.BadParameter("--positive goes with nih and covid-chestxray only")
    folder = directory if root is None else root
    with errors_as_exit_codes():
        assert folder is not None  # noqa: S101  # one of the two is given
        collected = _read(layout, folder, output, positive, with_masks, seed)
        rows = select(collected.rows, sources=source or (), tiers=licence_tier or ())
        write_manifest(rows, output)
        print_counts(rows)
        _print_left_out(collected, output)
        say(f"{len(rows)} films written to {output}")


def _read(
    layout: Layout, folder: Path, output: Path, positive: str | None, with_masks: bool, seed: int
) -> Collected:
    from cxrexport import datasets

    if layout == "nih":
        return datasets.read_nih(folder, positive=positive, seed=seed)
    if layout == "montgomery-shenzhen":
        masks = output.with_suffix(".masks")
        return datasets.read_montgomery_shenzhen(folder, masks_to=masks, seed=seed)
    if layout == "covid-chestxray":
        return datasets.read_covid_chestxray(folder, positive=positive or "COVID-19", seed=seed)
    if layout == "hannover":
        return datasets.read_hannover(folder, seed=seed)
    if layout == "covid-cxr":
        rows = datasets.read_covid_cxr(folder, with_masks=with_masks, seed=seed)
    else:
        rows = datasets.read_tb_lungs(folder, seed=seed)
    return datasets.Collected(rows)


def _print_left_out(collected: Collected, output: Path) -> None:
    """Print what is not in the manifest by reason, and write the list beside it."""
    if collected.notes:
        say(f"{collected.notes} films have an empty cell; the column note says why.", err=False)
    listed = output.with_suffix(".excluded.csv")
    if not collected.left_out:
        listed.unlink(missing_ok=True)  # of an earlier call, and no longer true
        return
    for reason, count in collected.reasons().items():
        say(f"left out, {reason}: {count}", err=False)
    _write_left_out(collected.left_out, listed)
    say(f"{len(collected.left_out)} left out in all, listed in {listed}", err=False)


def _write_left_out(left_out: Iterable[LeftOut], path: Path) -> None:
    text = csv_text(("where", "image", "reason", "what"), map(astuple, left_out))
    try:
        write_whole(path, text, secret=True)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be written ({error.strerror or error})") from error
