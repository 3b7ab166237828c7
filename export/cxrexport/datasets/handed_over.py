"""Folders of films as they are handed over for development: a metadata.csv, images/ and masks/.

The split is decided over the whole collection and only then filtered, so a film never changes sides
because of a filter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from cxrclient.files import Record
from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, assign_splits, parse_records, read_table


def read_covid_cxr(
    directory: str | Path, *, with_masks: bool = False, seed: int = 0
) -> tuple[FilmRow, ...]:
    """Frontal films labelled covid or non-covid, with their fixed split.

    Args:
        directory: the folder that holds metadata.csv, images/ and masks/.
        with_masks: list V7's lung masks, for evaluation. Off by default, because every masked film
            is covid: a U-Net that learns from them can hand the label to the classifier.
        seed: of the split.

    Raises:
        ManifestError: every problem of metadata.csv.
    """

    def film(cells: Mapping[str, str]) -> dict[str, str]:
        return {**cells, "mask": cells["mask"] if with_masks else ""}

    return _read(Path(directory), film, ("mask", "patient_id", "label", "source"), seed)


def read_tb_lungs(directory: str | Path, *, seed: int = 0) -> tuple[FilmRow, ...]:
    """Tuberculosis or normal films with lung masks, with their fixed split; label = finding.

    `licence_tier` is that of the stricter of the film's and the mask's licence, because a network
    that learns from these rows learns from both.

    Raises:
        ManifestError: every problem of metadata.csv.
    """

    def film(cells: Mapping[str, str]) -> dict[str, str]:
        licences = cells["image_licence"] + cells["mask_licence"]
        tier = "B-nc-sa" if "NC" in licences.replace("-", " ").split() else "A-permissive"
        return {**cells, "label": cells["finding"], "licence_tier": tier}

    required = ("mask", "patient_id", "finding", "source", "image_licence", "mask_licence")
    return _read(Path(directory), film, required, seed)


def select(
    rows: tuple[FilmRow, ...], *, sources: Collection[str] = (), tiers: Collection[str] = ()
) -> tuple[FilmRow, ...]:
    """Keep the films of these sources and licence tiers; an empty collection keeps all.

    Raises:
        ManifestError: a name that no film has, or no film left.
    """
    for what, wanted, there in (
        ("source", sources, {row.source for row in rows}),
        ("licence tier", tiers, {row.licence_tier for row in rows}),
    ):
        if unknown := set(wanted) - there:
            known = ", ".join(sorted(name or "(empty)" for name in there))
            raise ManifestError(f"no film has the {what} {min(unknown)!r}; there are: {known}")
    kept = tuple(
        row
        for row in rows
        if (not sources or row.source in sources) and (not tiers or row.licence_tier in tiers)
    )
    if not kept:
        raise ManifestError("no film is left; leave out a filter")
    return kept


def _read(
    directory: Path,
    film: Callable[[Mapping[str, str]], dict[str, str]],
    required: tuple[str, ...],
    seed: int,
) -> tuple[FilmRow, ...]:
    path = directory / "metadata.csv"
    if not path.is_file():
        raise ManifestError(f"{path}: not there; name the folder that holds metadata.csv, images/")
    records = []
    for record in read_table(path, required=("image", *required)):
        cells = film(record.cells)
        cells["image"] = cells["image"] and f"images/{cells['image']}"
        cells["mask"] = cells["mask"] and f"masks/{cells['mask']}"
        records.append(Record(record.line, cells))
    return assign_splits(parse_records(records, path, root=directory), seed=seed)
