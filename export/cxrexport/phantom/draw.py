"""One film: posture, exposure, noise, border and letters around the anatomy."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from cxrexport.phantom.anatomy import Opacity, draw_thorax
from cxrexport.phantom.sheet import Sheet

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
    seed: int,
    positive: bool,
    size_px: int = 1024,
    *,
    patient: int | None = None,
    letters: bool = True,
) -> Phantom:
    """Draw one frontal film.

    Size, border, posture, exposure and noise do not depend on `positive`: nothing but the
    opacities tells the classes apart.

    Args:
        seed: of this film.
        positive: whether it shows peripheral opacities.
        size_px: longer side of the film, 128 to 4096.
        patient: seed of the anatomy, the same for all films of a patient; `seed` by default.
        letters: whether a side's letter, and on half of the films a word, is written on it.

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
    if letters:
        _lettered(image, field, posture)
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
    stretch = posture.uniform(1.6, 1.95)
    unit = min(across / posture.uniform(2.25, 2.6), down / (stretch * posture.uniform(1.25, 1.45)))
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
    """Black out what lies outside the collimated field."""
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
    return np.ascontiguousarray(np.where(exposed > 0, image, np.float32(0)))


def _lettered(
    image: npt.NDArray[np.float32], field: npt.NDArray[np.float64], posture: np.random.Generator
) -> None:
    height, width = image.shape
    scale = max(height, width) / 1024
    at = (round(field[1][0] - 0.075 * width), round(field[1][1] + 0.075 * height))
    _write(image, "L", at, 1.5 * scale)
    if posture.random() < 0.5:
        words = ("PORTABLE", "SUPINE", "AP ERECT", "12:40")[int(posture.integers(4))]
        _write(image, words, (round(0.02 * width), round(0.985 * height)), 0.5 * scale)


def _write(image: npt.NDArray[np.float32], text: str, at: tuple[int, int], scale: float) -> None:
    thickness = max(1, round(scale * 2))
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, 1.0, thickness, cv2.LINE_8)
