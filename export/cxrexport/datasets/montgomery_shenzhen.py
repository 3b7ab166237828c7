"""The tuberculosis sets of the U.S. National Library of Medicine: Montgomery and Shenzhen.

Facts of the layout, and where they are from:

- MontgomerySet/ and ChinaSet_AllFiles/ each hold CXR_png/ and ClinicalReadings/; the former also
  ManualMask/leftMask/ and ManualMask/rightMask/ with masks named as the films (the sets' ReadMe
  files; Jaeger et al., QIMS 2014;4:475, who also say that the films are postero-anterior).
- MCUCXR_0001_0.png and CHNCXR_0327_1.png: a number for each patient, then 0 for normal or 1 for
  tuberculosis. 138 films (80 and 58) and 662 (326 and 336).
- A reading is `Patient's Sex: F`, `Patient's Age: 027Y` and the text (Montgomery), or `male 45yrs`
  and the text (Shenzhen; also `femal 32yrs`, `Female, 28yrs`, `male 16month`, `female 64days`).
- Masks of 566 Shenzhen films by Stirenko et al. (2018) are CHNCXR_0001_0_mask.png in a folder
  mask/ (CC BY-NC-SA 4.0).
- A common repackaging has both sets in one CXR_png/ and joined masks in masks/; it reads too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cxrclient.files import private_folder, write_whole
from cxrexport.datasets.collected import Collected, age_in_years, files_by_name, sex_cell
from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, assign_splits

_FILM = re.compile(r"(MCUCXR|CHNCXR)_(\d{4})_([01])\.png")
_SHENZHEN_PERSON = re.compile(r"\s*(male|female|femal)\b\s*,?\s*(\d+\s*[a-z]*)?", re.IGNORECASE)
_SOURCES = {"MCUCXR": "nlm-montgomery", "CHNCXR": "nlm-shenzhen"}


def read_montgomery_shenzhen(root: str | Path, *, masks_to: str | Path, seed: int = 0) -> Collected:
    """Read one or both sets; label tb or normal.

    Args:
        root: a folder above one or both of them.
        masks_to: where the joined masks of Montgomery's left and right lungs are written; made
            where there are any. A manifest names one mask a film.
        seed: of the split.

    Raises:
        ManifestError: no film is there, or masks do not fit each other, all named; or the masks
            cannot be written.
    """
    root = Path(root)
    files = files_by_name(root, (".png", ".txt"))
    rows = [_row(name, files) for name in sorted(files) if _is_film(files[name], name)]
    if not rows:
        raise ManifestError(
            f"{root}: no film such as MCUCXR_0001_0.png or CHNCXR_0001_0.png is in a folder "
            "CXR_png below it"
        )
    rows = _with_joined_masks(rows, files, Path(masks_to))
    return Collected(assign_splits(rows, seed=seed))


def _is_film(paths: list[Path], name: str) -> bool:
    return _FILM.fullmatch(name) is not None and _in(paths, "CXR_png") is not None


def _in(paths: Iterable[Path], *folders: str) -> Path | None:
    """Give the first path whose folder has one of these names."""
    return next((path for path in paths if path.parent.name in folders), None)


def _row(name: str, files: dict[str, list[Path]]) -> FilmRow:
    match = _FILM.fullmatch(name)
    image = _in(files[name], "CXR_png")
    assert match is not None and image is not None  # noqa: S101, PT018  # by _is_film
    stem, source = image.stem, _SOURCES[match[1]]
    reading = _in(files.get(f"{stem}.txt", ()), "ClinicalReadings")
    sex, age, text, notes = _person(reading)
    masked = next(iter(files.get(f"{stem}_mask.png", ())), None)
    joined = masked or _in(files[name], "masks", "mask")
    # Who learns from a mask is bound by its licence: Stirenko's is not for commercial use.
    tier = "B-nc-sa" if joined is not None and source == "nlm-shenzhen" else "A-permissive"
    label = "tb" if match[3] == "1" else "normal"
    return FilmRow(
        image=image.absolute(),
        mask=None if joined is None else joined.absolute(),
        patient_id=f"{match[1]}_{match[2]}",
        label=label,
        view="PA",
        sex=sex,
        age=age,
        source=source,
        finding=label,
        licence_tier=tier,
        extra={"reading": text, "note": notes},
    )


def _person(reading: Path | None) -> tuple[Literal["F", "M"] | None, float | None, str, str]:
    """Read sex, age in years, the radiologist's text, and what was left empty."""
    if reading is None:
        return None, None, "", "no clinical reading"
    lines = [line.strip() for line in _text(reading).splitlines() if line.strip()]
    sex_text = age_text = ""
    rest = []
    for position, line in enumerate(lines):
        key, _, value = line.partition(":")
        person = _SHENZHEN_PERSON.match(line) if position == 0 else None
        if key == "Patient's Sex":
            sex_text = value
        elif key == "Patient's Age":
            age_text = value
        elif person is not None:
            sex_text, age_text = person[1], person[2] or ""
        else:
            rest.append(line)
    sex, sex_note = sex_cell(sex_text)
    age, age_note = age_in_years(age_text)
    notes = "; ".join(note for note in (sex_note, age_note) if note)
    known: Literal["F", "M"] | None = "F" if sex == "F" else "M" if sex == "M" else None
    return known, float(age) if age else None, " ".join(rest), notes


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error})") from error


def _with_joined_masks(
    rows: list[FilmRow], files: dict[str, list[Path]], folder: Path
) -> list[FilmRow]:
    """Join left and right lungs where they are apart, in threads; name every misfit at once."""
    pairs = {}
    for row in rows:
        paths = files[row.image.name]
        left, right = _in(paths, "leftMask"), _in(paths, "rightMask")
        if row.mask is None and left is not None and right is not None:
            pairs[row.image] = (left, right, (folder / row.image.name).absolute())
    if not pairs:
        return rows
    try:
        private_folder(folder)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            problems = [p for p in pool.map(lambda pair: _join(*pair), pairs.values()) if p]
    except OSError as error:
        raise ManifestError(f"{folder}: cannot be written ({error.strerror or error})") from error
    if problems:
        raise ManifestError("\n".join(problems))
    return [replace(row, mask=pairs[row.image][2]) if row.image in pairs else row for row in rows]


def _join(left: Path, right: Path, joined: Path) -> str:
    """Write the union of two masks; give what is wrong, or nothing."""
    import cv2

    from cxrexport.manifest.masks import read_mask

    one, other = read_mask(left), read_mask(right)
    if one is None or other is None:
        return f"{left if one is None else right}: not an image"
    if one.shape != other.shape:
        return f"{left}: not of the size of {right}"
    encoded = cv2.imencode(".png", cv2.max(one, other))[1]
    write_whole(joined, encoded.tobytes(), secret=True, sync=False)
    return ""
