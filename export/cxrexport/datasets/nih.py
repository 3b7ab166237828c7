"""NIH ChestX-ray14: `Data_Entry_2017.csv` or `Data_Entry_2017_v2020.csv`, and the films.

Facts of the layout, and where they are from:

- 112,120 frontal PNG films of 30,805 patients, 1024x1024, handed out as images_001.tar.gz to
  images_012.tar.gz, each with a folder `images/` (Wang et al., CVPR 2017, and the README of the NIH
  Clinical Center's Box folder, nihcc.app.box.com/v/ChestXray-NIHCC); mirrors have them as
  images_001/images/*.png or in one folder images/.
- Columns `Image Index`, `Finding Labels` (joined by `|`, or `No Finding`), `Follow-up #`, `Patient
  ID`, `Patient Age`, `Patient Gender` (`Patient Sex` in some copies), `View Position` (PA or AP),
  then sizes and spacings; lines of the 2017 table end in a comma. Its ages are numbers or, in the
  oldest copies, DICOM's (`058Y`, `018M`); some are impossible (148, 412) in every release.
- All of it was taken before 2017: no film shows COVID-19.
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
    label_of,
    sex_cell,
)
from cxrexport.errors import ManifestError
from cxrexport.manifest import read_table

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
NORMAL = "No Finding"
FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)


def read_nih(root: str | Path, *, positive: str | None = None, seed: int = 0) -> Collected:
    """Read ChestX-ray14.

    Args:
        root: the folder of the table; the films are anywhere below it.
        positive: one of FINDINGS: films with it (alone or with others) get it as label, films of
            `No Finding` the label normal, and all others are left out. None: all films get the
            label non-covid, for they are older than the disease.
        seed: of the split.

    Raises:
        ManifestError: no table, an unknown finding, every problem of its rows, or no film is there.
    """
    root = Path(root)
    if positive is not None and positive not in FINDINGS:
        raise ManifestError(
            f"ChestX-ray14 has no finding {positive!r}; it has {', '.join(FINDINGS)}"
        )
    table = next((root / name for name in TABLES if (root / name).is_file()), None)
    if table is None:
        raise ManifestError(f"{root}: neither {' nor '.join(TABLES)} is there; name their folder")
    films = files_by_name(root, (".png",))
    rows = Rows(table)
    needed = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
    for record in read_table(table, required=needed):
        cells = record.cells
        image, finding = cells["Image Index"], cells["Finding Labels"]
        label = _label(finding, positive)
        if label is None:
            rows.leave(record.line, image, "another finding", finding)
        elif (lateral := lateral_view(cells["View Position"])) is not None:
            rows.leave(record.line, image, "lateral view", lateral.what)
        elif image not in films:
            rows.leave(record.line, image, "no file", "not below the folder")
        else:
            known, notes = _cells(cells)
            path = str(films[image][0].absolute())
            rows.keep(record.line, {"image": path, "label": label, **known}, notes)
    return rows.collected(seed)


def _label(finding: str, positive: str | None) -> str | None:
    if positive is None:
        return "non-covid"
    if finding == NORMAL:
        return "normal"
    return label_of(positive) if positive in finding.split("|") else None


def _cells(cells: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    age, age_note = age_in_years(cells["Patient Age"])
    sex, sex_note = sex_cell(cells.get("Patient Gender") or cells.get("Patient Sex") or "")
    patient = cells["Patient ID"]
    known = {
        "patient_id": f"nih-{patient.zfill(5)}" if patient else "",
        "view": cells["View Position"],
        "sex": sex,
        "age": age,
        "source": "nih-chestxray14",
        "finding": cells["Finding Labels"],
        "licence_tier": "A-permissive",
        "followup_no": cells.get("Follow-up #", ""),
    }
    return known, (age_note, sex_note)
