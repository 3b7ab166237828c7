"""Phantoms: drawn chest films with known lungs and known opacities, written as DICOM.

They let anyone try and test everything without one patient's film. Everything follows from the
seed, to the byte. They show mechanisms; no accuracy measured on them says anything of patients.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cxrexport.manifest import FilmRow, assign_splits, write_manifest
from cxrexport.phantom_anatomy import Opacity, Sheet, draw_thorax
from cxrexport.phantom_dicom import PhantomHeader, write_dicom

__all__ = ["Opacity", "Phantom", "draw_phantom", "write_phantoms"]

SMALLEST_PX, LARGEST_PX = 128, 4096


@dataclass(frozen=True, eq=False)
class Phantom:
    """One drawn film.

    Attributes:
        image: float32 [height, width] in 0..1, dense bright; borders are 0, letters 1.
        lungs: bool [height, width], the lung fields without the heart.
        opacities: what was drawn into the lungs; empty in a negative film.
    """

    image: npt.NDArray[np.float32]
    lungs: npt.NDArray[np.bool_]
    opacities: tuple[Opacity, ...]


def draw_phantom(
    seed: int, positive: bool, size_px: int = 1024, *, patient: int | None = None
) -> Phantom:
    """Draw one frontal film.

    Size, border, posture, exposure and noise do not depend on `positive`: nothing but the
    opacities tells the classes apart.

    Args:
        seed: of this film.
        positive: whether it shows peripheral opacities.
        size_px: longer side of the film, 128 to 4096.
        patient: seed of the anatomy, the same for all films of a patient; `seed` by default.

    Raises:
        ValueError: the size is out of range.
    """
    if not SMALLEST_PX <= size_px <= LARGEST_PX:
        raise ValueError(f"size_px must be {SMALLEST_PX} to {LARGEST_PX}")
    anatomy = np.random.default_rng([seed if patient is None else patient, 1])
    posture, disease, grain = (np.random.default_rng([seed, k]) for k in (2, 3, 4))
    sheet, field = _sheet(posture, size_px)
    density, lungs, opacities = draw_thorax(sheet, anatomy, disease, positive)
    image = _exposed(density, grain)
    image = _bordered(image, field, posture)
    return Phantom(image, lungs, opacities)


def _sheet(posture: np.random.Generator, size_px: int) -> tuple[Sheet, npt.NDArray[np.float64]]:
    """Choose the film's shape, its exposed field (corners, film pixels) and the thorax within."""
    aspect = posture.uniform(0.82, 1.2)
    width = size_px if aspect >= 1 else round(size_px * aspect)
    height = size_px if aspect <= 1 else round(size_px / aspect)
    share = np.where(posture.random(4) < 0.45, posture.uniform(0.01, 0.11, 4), 0.0)
    left, top, right, bottom = share * (width, height, width, height)
    field = np.array(
        [(left, top), (width - right, top), (width - right, height - bottom),
         (left, height - bottom)]
    )  # fmt: skip
    across, down = width - left - right, height - top - bottom
    stretch = posture.uniform(1.45, 1.7)
    unit = min(across / posture.uniform(2.3, 2.75), down / (stretch * posture.uniform(1.3, 1.5)))
    origin = (
        left + across * posture.uniform(0.475, 0.525),
        top + (down - unit * stretch) * posture.uniform(0.45, 0.6),
    )
    angle = posture.normal(0.0, 0.02)
    return Sheet(height, width, float(unit), float(stretch), origin, float(angle)), field


def _exposed(
    density: npt.NDArray[np.float32], grain: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Turn attenuation into brightness: scatter, quantum noise, the film's own contrast."""
    height, width = density.shape
    coarse = grain.standard_normal((4, 4)).astype(np.float32)
    scatter = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = grain.standard_normal((height, width), dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.6)
    # Fewer quanta reach the detector behind dense tissue, so it is noisier there.
    amount = grain.uniform(0.008, 0.02) * (0.4 + np.clip(density, 0.0, 1.0))
    seen = density + 0.012 * scatter + amount * noise
    low, high = grain.uniform(-0.03, 0.05), grain.uniform(0.86, 1.0)
    level = np.clip((seen - low) / (high - low), 0.004, 1.0)
    return np.asarray(level ** grain.uniform(0.85, 1.15), dtype=np.float32)


def _bordered(
    image: npt.NDArray[np.float32], field: npt.NDArray[np.float64], posture: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Black out what lies outside the collimated field, and put the letters on."""
    height, width = image.shape
    lean = posture.normal(0.0, 0.004) if posture.random() < 0.4 else 0.0
    middle = field.mean(axis=0)
    turn = np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]])
    corners = (field - middle) @ turn + middle
    # A side without a border stays without one when the field leans.
    edge = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    corners = np.where(field == edge, edge + np.sign(edge - middle) * 0.02 * width, corners)
    exposed = np.zeros((height, width), dtype=np.uint8)
    cv2.fillPoly(exposed, [np.rint(corners).astype(np.int32)], 1)
    image = np.where(exposed > 0, image, np.float32(0))
    scale = max(height, width) / 1024
    at = (round(field[1][0] - 0.075 * width), round(field[1][1] + 0.075 * height))
    _write(image, "L", at, 1.5 * scale)
    if posture.random() < 0.5:
        words = ("PORTABLE", "SUPINE", "AP ERECT", "12:40")[int(posture.integers(4))]
        _write(image, words, (round(0.02 * width), round(0.985 * height)), 0.5 * scale)
    return np.ascontiguousarray(image)


def _write(image: npt.NDArray[np.float32], text: str, at: tuple[int, int], scale: float) -> None:
    thickness = max(1, round(scale * 2))
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, 1.0, thickness, cv2.LINE_8)


def write_phantoms(count: int, output: str | Path, seed: int = 0, *, size_px: int = 1024) -> Path:
    """Write `count` films (DICOM), their lung masks (PNG) and a manifest.

    Half of the films are positive (one less where `count` is odd); about a third of the patients
    have two or three films. The split is by patient.

    Args:
        count: films, at least 1.
        output: folder; made where it does not exist. Films of the same name are overwritten.
        seed: everything follows from it, to the byte.
        size_px: longer side of the films.

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
        _write_film(folder, header, seed, size_px) for header in _headers(count, seed)
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


def _write_film(folder: Path, header: PhantomHeader, seed: int, size_px: int) -> FilmRow:
    film_seed = int(
        np.random.SeedSequence([seed, header.patient, header.visit]).generate_state(1)[0]
    )
    patient_seed = int(np.random.SeedSequence([seed, header.patient]).generate_state(1)[0])
    phantom = draw_phantom(film_seed, header.positive, size_px, patient=patient_seed)
    image = folder / "images" / f"{header.name}.dcm"
    mask = folder / "masks" / f"{header.name}.png"
    buffer = io.BytesIO()
    write_dicom(phantom.image, header, np.random.default_rng([film_seed, 6]), buffer)
    image.write_bytes(buffer.getvalue())
    mask.write_bytes(cv2.imencode(".png", phantom.lungs.astype(np.uint8) * 255)[1].tobytes())
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
