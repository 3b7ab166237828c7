"""A collection of phantoms: made-up patients, their films as DICOM, masks and a manifest."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cxrclient.files import write_whole
from cxrexport.manifest import FilmRow, assign_splits, write_manifest
from cxrexport.phantom.dicom import PhantomHeader, write_dicom
from cxrexport.phantom.draw import draw_phantom


def write_phantoms(
    count: int, output: str | Path, seed: int = 0, *, size_px: int = 1024, letters: bool = True
) -> Path:
    """Write `count` films (DICOM), their lung masks (PNG) and a manifest.

    Half of the films are positive (one less where `count` is odd); about a third of the patients
    have two or three films. The split is by patient.

    Args:
        count: films, at least 1.
        output: folder; made where it does not exist. Films of the same name are overwritten.
        seed: everything follows from it, to the byte.
        size_px: longer side of the films.
        letters: whether they are written on, as many real films are; the gate remarks on that.

    Returns:
        Path of the manifest, `output`/manifest.csv.

    Raises:
        ValueError: count or size is out of range.
        OSError: the folder cannot be written.
    """
    if count < 1:
        raise ValueError("count must be at least 1")
    folder = Path(output)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = [
        _write_film(folder, header, seed, size_px, letters=letters)
        for header in _headers(count, seed)
    ]  # one at a time: a film of 4096 px takes 64 MB while it is drawn
    manifest = folder / "manifest.csv"
    write_manifest(assign_splits(rows, seed=seed), manifest)
    return manifest


def _headers(count: int, seed: int) -> list[PhantomHeader]:
    """Make up patients and their examinations until each class has its films."""
    chance = np.random.default_rng([seed, 5])
    headers: list[PhantomHeader] = []
    patient = 0
    for positive, films in ((False, count - count // 2), (True, count // 2)):
        made = 0
        while made < films:
            patient += 1
            visits = min(int(chance.choice([1, 2, 3], p=[0.65, 0.2, 0.15])), films - made)
            person: dict[str, Any] = {
                "patient": patient,
                "positive": positive,
                "sex": "FM"[int(chance.integers(2))],
                "age": int(np.clip(chance.normal(62, 16), 18, 95)),
                "admitted": int(chance.integers(0, 900)),
            }
            day = 0
            for visit in range(visits):
                view = "AP" if chance.random() < 0.7 else "PA"
                headers.append(PhantomHeader(seed, visit=visit, day=day, view=view, **person))
                day += int(chance.integers(1, 8))
            made += visits
    return headers


def _write_film(
    folder: Path, header: PhantomHeader, seed: int, size_px: int, *, letters: bool
) -> FilmRow:
    film_seed = int(
        np.random.SeedSequence([seed, header.patient, header.visit]).generate_state(1)[0]
    )
    patient_seed = int(np.random.SeedSequence([seed, header.patient]).generate_state(1)[0])
    phantom = draw_phantom(
        film_seed, header.positive, size_px, patient=patient_seed, letters=letters
    )
    image = folder / "images" / f"{header.name}.dcm"
    mask = folder / "masks" / f"{header.name}.png"
    buffer = io.BytesIO()
    chance = np.random.default_rng([film_seed, 6])
    write_dicom(phantom.image, header, chance, buffer, letters=letters)
    lungs = cv2.imencode(".png", phantom.lungs.astype(np.uint8) * 255)[1]
    write_whole(image, buffer.getvalue(), sync=False)
    write_whole(mask, lungs.tobytes(), sync=False)
    return FilmRow(
        image=image.absolute(),
        mask=mask.absolute(),
        patient_id=header.patient_id,
        label="covid" if header.positive else "non-covid",
        view=header.view,
        sex="F" if header.sex == "F" else "M",
        age=float(header.age),
        offset_days=float(header.day),
        offset_meaning="days since admission",
        source="phantom",
        finding="drawn peripheral opacities" if header.positive else "none drawn",
    )
