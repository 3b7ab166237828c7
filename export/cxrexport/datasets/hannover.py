"""COVID-19 image repository of Hannover Medical School: `data.csv` and png/.

Facts of the layout, and where they are from (github.com/ml-workgroup/covid-19-image-repository):

- data.csv has patient_id, image_id, sex (m, f; `w` by the readme), age (redacted), modality (CR,
  DX), projection (ap, pa), admission_offset, laboratory values; the films are png/IMAGE_ID.png.
  Here a DICOM object IMAGE_ID.dcm below the folder is taken before the PNG of that name.
- An offset is the day of the event seen from the film: -21 says that the patient was admitted 21
  days before the film was taken (issue 2). So the days since admission are its negative.
- All patients had COVID-19, not all films: the owners would call a film positive where admission
  is less than 7 days ahead, negative where it is more than 14 days ahead, and unknown in between
  (issue 4). Unknown ones, and those without an offset, are left out; films long before admission
  too: they are not the study's negatives, who are other patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cxrexport.admission.exclusions import lateral_view
from cxrexport.datasets.collected import (
    Collected,
    Rows,
    age_in_years,
    files_by_name,
    offset_cell,
    sex_cell,
)
from cxrexport.manifest import read_table

_POSITIVE_BEFORE_DAYS = 7
_RADIOGRAPHY = ("CR", "DX", "RG", "DR")


def read_hannover(root: str | Path, *, seed: int = 0) -> Collected:
    """Read the repository; every film in it is covid.

    Args:
        root: the folder of data.csv; the films are anywhere below it.
        seed: of the split.

    Raises:
        ManifestError: no table, every problem of its rows, or no film is there.
    """
    root = Path(root)
    films = files_by_name(root, (".dcm", ".png"))
    rows = Rows(root / "data.csv")
    needed = ("patient_id", "image_id", "sex", "admission_offset", "modality", "projection")
    for record in read_table(rows.table, required=needed):
        cells, image = record.cells, record.cells["image_id"]
        there = films.get(f"{image}.dcm") or films.get(f"{image}.png")
        reason, what = _reason(cells)
        if reason:
            rows.leave(record.line, image, reason, what)
        elif not there:
            rows.leave(record.line, image, "no file", "neither .dcm nor .png below the folder")
        else:
            known, notes = _cells(cells)
            rows.keep(record.line, {"image": str(there[0].absolute()), **known}, notes)
    return rows.collected(seed)


def _reason(cells: Mapping[str, str]) -> tuple[str, str]:
    """Give why a row is left out, and the particulars; empty where it is not."""
    offset, view = cells["admission_offset"], cells["projection"]
    if cells["modality"].upper() not in _RADIOGRAPHY:
        return "not a radiograph", f"modality {cells['modality'] or 'empty'}"
    if (lateral := lateral_view(view)) is not None:
        return "lateral view", lateral.what
    days, _ = offset_cell(offset)
    if not days:
        return "day unknown", f"admission_offset {offset or 'empty'}"
    if float(days) >= _POSITIVE_BEFORE_DAYS:
        return "taken before the disease is certain", f"{days} days before admission"
    return "", ""


def _cells(cells: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    age, age_note = age_in_years(cells.get("age", ""))
    sex, sex_note = sex_cell(cells["sex"])
    days, _ = offset_cell(cells["admission_offset"], sign=-1)
    known = {
        "patient_id": f"mhh-{cells['patient_id']}" if cells["patient_id"] else "",
        "label": "covid",
        "view": cells["projection"].upper(),
        "sex": sex,
        "age": age,
        "offset_days": days,
        "offset_meaning": "days since admission",
        "source": "hannover-mhh",
        "finding": "COVID-19",
        "licence_tier": "A-permissive",
        "modality": cells["modality"],
    }
    return known, (age_note, sex_note)
