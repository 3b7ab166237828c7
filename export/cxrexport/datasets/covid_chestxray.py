"""COVID-19 image data collection of Cohen et al.: `metadata.csv`, images/ and more folders.

Facts of the layout, and where they are from:

- SCHEMA.md of github.com/ieee8023/covid-chestxray-dataset names the columns: patientid, offset
  ("days since the start of symptoms or hospitalization"), sex, age, finding, survival, …, view (PA,
  AP, AP Supine, L; Axial or Coronal for CT), modality (X-ray or CT), date, location, folder,
  filename, doi, url, license, clinical_notes, other_notes. The oldest tables had no modality and no
  folder; they are refused with the columns' names.
- `folder` is `images`, or `volumes` for CT. A finding is a path such as
  `Pneumonia/Viral/COVID-19`, `No Finding`, `Unknown`, or `todo` where nobody has filled it in (its
  issues and pull requests 122 and 137).
- It holds copies of other collections, Hannover's too: a manifest of both has doubles, which
  `cxrexport manifest check` finds where the pixels are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from cxrexport.admission.exclusions import lateral_view
from cxrexport.datasets.collected import (
    Collected,
    Rows,
    age_in_years,
    files_by_name,
    label_of,
    offset_cell,
    sex_cell,
)
from cxrexport.errors import ManifestError
from cxrexport.manifest import read_table

_UNKNOWN = ("", "todo", "unknown")
_FRONTAL = ("PA", "AP", "APS", "AP SUPINE", "AP ERECT")


def read_covid_chestxray(
    root: str | Path, *, positive: str = "COVID-19", seed: int = 0
) -> Collected:
    """Read the collection; frontal X-rays only, everything else is left out with its reason.

    Args:
        root: the folder of metadata.csv.
        positive: a finding, or a part of one between slashes, such as `COVID-19`, `SARS` or
            `Bacterial`. Films with it get it as label (`COVID-19` makes covid), all others non- and
            that. Films of an unknown finding are left out.
        seed: of the split.

    Raises:
        ManifestError: no table, nothing has that finding, every problem of the rows, or no film.
    """
    root = Path(root)
    table = root / "metadata.csv"
    films = files_by_name(root, (".png", ".jpg", ".jpeg", ".dcm"))
    rows = Rows(table)
    needed = ("patientid", "finding", "view", "modality", "filename")
    records = read_table(table, required=needed)
    parts = {part for record in records for part in record.cells["finding"].split("/")}
    if positive not in parts:
        known = ", ".join(sorted(part for part in parts if part.lower() not in _UNKNOWN))
        raise ManifestError(f"{table}: no film has the finding {positive!r}; there are: {known}")
    for record in records:
        cells, image = record.cells, record.cells["filename"]
        reason, what = _reason(cells)
        there = _place(root, cells, films)
        if reason:
            rows.leave(record.line, image, reason, what)
        elif there is None:
            rows.leave(record.line, image, "no file", f"not in {cells.get('folder') or 'images'}")
        else:
            film, notes = _cells(cells, positive)
            rows.keep(record.line, {"image": str(there.absolute()), **film}, notes)
    return rows.collected(seed)


def _reason(cells: Mapping[str, str]) -> tuple[str, str]:
    """Give why a row is left out, and the particulars; empty where it is not."""
    view, finding = cells["view"], cells["finding"]
    if cells["modality"].lower() not in ("x-ray", "xray"):
        return "not an X-ray", f"modality {cells['modality'] or 'empty'}"
    if (lateral := lateral_view(view)) is not None:
        return "lateral view", lateral.what
    if view.upper() not in _FRONTAL:
        return "not a frontal view", f"view {view or 'empty'}"
    if finding.lower() in _UNKNOWN:
        return "finding unknown", finding or "empty"
    return "", ""


def _place(root: Path, cells: Mapping[str, str], films: Mapping[str, list[Path]]) -> Path | None:
    name = cells["filename"]
    stated = root / (cells.get("folder") or "images") / name
    if stated in films.get(name, []):
        return stated
    return next(iter(films.get(name, [])), None)


def _cells(cells: Mapping[str, str], positive: str) -> tuple[dict[str, str], tuple[str, ...]]:
    age, age_note = age_in_years(cells.get("age", ""))
    sex, sex_note = sex_cell(cells.get("sex", ""))
    offset, offset_note = offset_cell(cells.get("offset", ""))
    label = label_of(positive)
    licence = cells.get("license", "")
    known = {
        "patient_id": f"ccx-{cells['patientid']}" if cells["patientid"] else "",
        "label": label if positive in cells["finding"].split("/") else f"non-{label}",
        "view": cells["view"],
        "sex": sex,
        "age": age,
        "offset_days": offset,
        "offset_meaning": "days since symptom onset or hospitalisation" if offset else "",
        "source": _source(cells.get("url", "")),
        "finding": cells["finding"],
        "licence_tier": _tier(licence),
        "licence": licence,
        "location": cells.get("location", ""),
    }
    return known, (age_note, sex_note, offset_note)


def _source(url: str) -> str:
    """Name what the film was taken from: films of one site have more in common than the disease."""
    host = (urlsplit(url).hostname or "").removeprefix("www.")
    return f"ieee8023/{host or 'unknown'}"


def _tier(licence: str) -> str:
    words = licence.upper().replace("-", " ").split()
    if "NC" in words:
        return "B-nc-sa"
    return "A-permissive" if words[:1] in (["CC"], ["CC0"], ["APACHE"]) else ""
