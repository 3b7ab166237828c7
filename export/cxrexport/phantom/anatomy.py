"""Draws a thorax: what a chest film is made of, as sums of attenuation. numpy and OpenCV only.

Anatomy is written in thorax units: x from -1 to 1 between the lateral chest walls (negative is the
patient's right, on the left of the film), y from 0 at the lung apices to 1 at the costophrenic
angles. It is drawn to be recognised as a chest film by people and networks, not to be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from cxrexport.phantom.sheet import Sheet, box, ellipse, fixed_point, spline

_Float32 = npt.NDArray[np.float32]
_Float64 = npt.NDArray[np.float64]

_DRAWN_PX = 768

# Control points of the patient's right lung, outwards positive: apex, lateral wall, costophrenic
# angle, dome of the diaphragm, heart border, mediastinum.
_RIGHT_LUNG = np.array(
    [
        (0.36, 0.00), (0.58, 0.05), (0.75, 0.18), (0.86, 0.38), (0.92, 0.60), (0.95, 0.82),
        (0.93, 0.97), (0.80, 0.90), (0.60, 0.83), (0.40, 0.83), (0.25, 0.89), (0.25, 0.72),
        (0.21, 0.52), (0.17, 0.32), (0.17, 0.14), (0.23, 0.04),
    ]
)  # fmt: skip
_LEFT_LUNG = np.array(
    [
        (0.36, 0.00), (0.58, 0.05), (0.75, 0.18), (0.86, 0.38), (0.92, 0.60), (0.95, 0.84),
        (0.93, 1.00), (0.82, 0.94), (0.68, 0.89), (0.58, 0.91), (0.57, 0.78), (0.47, 0.63),
        (0.30, 0.50), (0.21, 0.38), (0.20, 0.16), (0.24, 0.04),
    ]
)  # fmt: skip
_BODY = np.array(
    [
        (0.20, -0.60), (0.22, -0.26), (0.42, -0.17), (0.95, -0.10), (1.28, 0.05), (1.42, 0.30),
        (1.22, 0.48), (1.13, 0.75), (1.12, 1.10), (1.16, 1.80),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Opacity:
    """A drawn opacity.

    Attributes:
        x: column of its centre, film pixels.
        y: row of its centre, film pixels.
        radius_px: half-width at about a third of its strength, film pixels.
        strength: attenuation added at its centre; the lung is about 0.45 below soft tissue.
    """

    x: float
    y: float
    radius_px: float
    strength: float


def draw_thorax(
    sheet: Sheet, anatomy: np.random.Generator, film: np.random.Generator, positive: bool
) -> tuple[_Float32, npt.NDArray[np.bool_], tuple[Opacity, ...]]:
    """Draw attenuation, lung fields and opacities.

    Args:
        sheet: the film.
        anatomy: draws what stays the same from one film of a patient to the next.
        film: draws what changes.
        positive: whether to add peripheral opacities.

    Returns:
        float32 [height, width], about 0 (air) to 1 (abdomen); the lungs, bool; the opacities.
    """
    outlines = [
        spline(_varied(points, anatomy) * (side, 1.0))
        for side, points in ((-1.0, _RIGHT_LUNG), (1.0, _LEFT_LUNG))
    ]
    opacities = _peripheral(sheet, outlines, film) if positive else ()
    # Anatomy has no detail finer than a rib's cortex: it is drawn small and enlarged.
    small = sheet.reduced(_DRAWN_PX)
    density = _density(small, outlines, anatomy)
    if opacities:
        scale = small.unit_px / sheet.unit_px
        air = small.soft(np.maximum(*(small.filled(outline) for outline in outlines)), 0.012)
        density += _consolidation(small, opacities, scale, film) * air
    lungs = np.maximum(*(sheet.filled(outline) for outline in outlines)) > 0
    size = (sheet.width, sheet.height)
    density = np.asarray(cv2.resize(density, size, interpolation=cv2.INTER_CUBIC), np.float32)
    return density, lungs, opacities


def _density(sheet: Sheet, outlines: Sequence[_Float64], anatomy: np.random.Generator) -> _Float32:
    fields = np.maximum(*(sheet.filled(outline) for outline in outlines))
    air = sheet.soft(fields, 0.012)
    density = _soft_tissue(sheet, anatomy)
    density -= air * (0.24 + 0.20 * sheet.soft(fields, 0.18))
    density += _mediastinum(sheet, anatomy) + _bones(sheet, anatomy, air)
    texture = _grain(sheet, anatomy, 0.012) + _grain(sheet, anatomy, 0.03)
    density += air * (_vessels(sheet, anatomy) + 0.010 * texture)
    density += 0.012 * _grain(sheet, anatomy, 0.2) * np.minimum(density * 3, 1)
    return density


def _grain(sheet: Sheet, chance: np.random.Generator, size: float) -> _Float32:
    """Draw noise of `size` thorax units, mean 0 and deviation 1."""
    noise = chance.standard_normal((sheet.height, sheet.width), dtype=np.float32)
    noise = sheet.soft(noise, size)
    return noise / np.float32(max(float(noise.std()), 1e-6))


def _soft_tissue(sheet: Sheet, anatomy: np.random.Generator) -> _Float32:
    """Neck, shoulders, arms and trunk, denser towards the middle; breasts; abdomen."""
    girth = anatomy.uniform(1.0, 1.18)
    half = _BODY * (girth, 1.0)
    body = sheet.filled(np.concatenate([half, half[::-1] * (-1.0, 1.0)]), 0.025)
    for side in (-1, 1):
        arm = [(1.10, 0.0), (1.40, 0.02), (1.62, 0.35), (1.80, 1.60), (1.48, 1.60), (1.28, 0.5)]
        limb = sheet.filled(np.array(arm) * (side * girth, 1.0), 0.03)
        np.maximum(body, 0.75 * limb, out=body)
    density = body * (0.46 + 0.14 * sheet.soft(body, 0.3))
    if anatomy.random() < 0.5:
        drop = anatomy.uniform(0.60, 0.74)
        for side in (-1, 1):
            breast = sheet.filled(ellipse((side * 0.58, drop), (0.40, 0.26)), 0.015)
            density += anatomy.uniform(0.025, 0.06) * breast
    dome = [(-1.3, 1.15), (-0.95, 1.0), (-0.8, 0.91), (-0.6, 0.84), (-0.3, 0.86), (0.0, 0.92)]
    dome += [(0.3, 0.93), (0.66, 0.9), (0.82, 0.95), (0.95, 1.02), (1.3, 1.15)]
    dome += [(1.3, 2.4), (-1.3, 2.4)]
    density += sheet.filled(dome, 0.02) * body * (0.20 + 0.04 * _grain(sheet, anatomy, 0.12))
    bubble = ellipse((anatomy.uniform(0.48, 0.6), 1.03), (anatomy.uniform(0.1, 0.2), 0.07))
    density -= anatomy.uniform(0.05, 0.18) * sheet.filled(bubble, 0.02)
    return density


def _mediastinum(sheet: Sheet, anatomy: np.random.Generator) -> _Float32:
    """Spine with its discs, upper mediastinum, aortic knob, heart; the trachea as air."""
    width = anatomy.uniform(0.15, 0.2)
    band = [(-width, -0.05), (width, -0.05), (width, 0.5), (width * 1.3, 0.95), (-width, 0.95)]
    density = 0.06 * sheet.filled(band, 0.06)
    spine = sheet.blank()
    pitch = 0.085
    level = -0.55
    while level < 1.9:
        half = 0.075 + 0.015 * level
        body = box((0.0, level + pitch / 2), half, pitch * 0.42)
        cv2.fillPoly(spine, [fixed_point(sheet.place(body))], 0.8, cv2.LINE_8, 4)
        inner = box((0.0, level + pitch / 2), half * 0.85, pitch * 0.28)
        cv2.fillPoly(spine, [fixed_point(sheet.place(inner))], 0.6, cv2.LINE_8, 4)
        for side in (-1, 1):
            pedicle = ellipse((side * half * 0.55, level + pitch * 0.4), (0.017, 0.011))
            cv2.fillPoly(spine, [fixed_point(sheet.place(pedicle))], 1.0, cv2.LINE_8, 4)
        level += pitch
        pitch *= 1.02
    density += 0.085 * sheet.soft(spine, 0.014)
    knob = ellipse((0.17, anatomy.uniform(0.28, 0.33)), (0.09, 0.075))
    density += 0.05 * sheet.filled(knob, 0.012)
    heart = ellipse((0.14, 0.71), (anatomy.uniform(0.38, 0.46), 0.22), 0.42)
    density += anatomy.uniform(0.09, 0.13) * sheet.filled(heart, 0.025)
    airway = sheet.blank()
    sheet.line(airway, [(0.0, -0.6), (0.01, 0.36)], 0.085, 1.0)
    sheet.line(airway, [(0.01, 0.34), (-0.16, 0.47)], 0.05, 0.7)
    sheet.line(airway, [(0.01, 0.34), (0.18, 0.49)], 0.05, 0.7)
    return density - 0.085 * sheet.soft(airway, 0.015)


def _bones(sheet: Sheet, anatomy: np.random.Generator, air: _Float32) -> _Float32:
    """Ribs behind and in front, clavicles, shoulder blades and the heads of the arms."""
    behind, before, girdle = sheet.blank(), sheet.blank(), sheet.blank()
    along = np.linspace(0.0, 1.0, 40)
    slope, thick = anatomy.uniform(0.85, 1.15), anatomy.uniform(0.06, 0.072)
    lift = anatomy.uniform(-0.01, 0.05)
    density = sheet.blank()
    for side in (-1, 1):
        for number in range(10):
            top = -0.03 + 0.095 * number
            reach = float(np.interp(number, [0, 2, 5, 9], [0.62, 0.84, 0.97, 1.03]))
            rib = _arch(side, along, (0.03, top), reach, slope * (0.10 + 0.012 * number))
            _bone(sheet, behind, rib, thick)
            if 1 <= number <= 6:
                front = _front_rib(side, along, 0.10 + 0.115 * number, reach)
                _bone(sheet, before, front, thick * 1.2)
        x, bow = 0.09 + 0.98 * along, np.sin(2 * np.pi * along)
        clavicle = np.stack([side * x, 0.10 - 0.20 * along - lift * along + 0.022 * bow], axis=1)
        _bone(sheet, girdle, clavicle, 0.07)
        head = ellipse((side * 1.24, 0.03), (0.14, 0.09))
        cv2.fillPoly(girdle, [fixed_point(sheet.place(head))], 0.8, cv2.LINE_8, 4)
        blade = [(side * 1.02, -0.02), (side * 1.2, 0.0), (side * 1.1, 0.5), (side * 0.99, 0.32)]
        density += 0.045 * sheet.filled(blade, 0.012)
        sheet.line(girdle, [blade[0], blade[3], blade[2]], 0.02, 0.35)
    ribs = 0.085 * sheet.soft(behind, 0.006) + 0.035 * sheet.soft(before, 0.009)
    # Behind heart and diaphragm, ribs drown in scatter.
    density += ribs * (0.35 + 0.65 * air)
    return density + 0.10 * sheet.soft(girdle, 0.008)


def _bone(sheet: Sheet, layer: _Float32, points: npt.ArrayLike, width: float) -> None:
    """Draw a bone with its two cortices brighter than its middle."""
    sheet.line(layer, points, width, 1.0)
    sheet.line(layer, points, width * 0.62, 0.62)


def _arch(
    side: int, along: _Float64, start: tuple[float, float], reach: float, drop: float
) -> _Float64:
    """Give a rib behind the lung: up and out from the spine, then down along the wall."""
    x = start[0] + (reach - start[0]) * np.sin(0.5 * np.pi * along) ** 0.9
    y = start[1] - 0.05 * np.sin(np.pi * along * 0.8) + drop * along**2.2 * 1.6
    return np.stack([side * x, y], axis=1)


def _front_rib(side: int, along: _Float64, level: float, reach: float) -> _Float64:
    """Give a rib before the lung: from the wall down towards the sternum, up to its cartilage."""
    x = reach - (reach - 0.36) * along
    return np.stack([side * x, level + 0.02 + 0.17 * along**1.3], axis=1)


def _vessels(sheet: Sheet, anatomy: np.random.Generator) -> _Float32:
    """Branch from each hilum outwards, thinner and fainter with every fork."""
    layer = sheet.blank()
    for side, hilum in ((-1, (-0.21, 0.47)), (1, (0.24, 0.44))):
        for heading in np.linspace(-1.25, 1.4, 8):
            toward = float(heading + anatomy.normal(0, 0.15))
            start = np.array(hilum) + anatomy.normal(0, 0.025, 2)
            _branch(sheet, layer, anatomy, (side, start, toward, 0.034), 4)
        core = ellipse(hilum, (0.06, 0.11), 0.25 * side)
        cv2.fillPoly(layer, [fixed_point(sheet.place(core))], 0.7, cv2.LINE_8, 4)
    return 0.10 * sheet.soft(layer, 0.009)


def _branch(
    sheet: Sheet,
    layer: _Float32,
    anatomy: np.random.Generator,
    stem: tuple[int, _Float64, float, float],
    forks: int,
) -> None:
    """Draw a vessel (side, start, heading, width) that wanders, and the two that it forks into."""
    side, at, heading, width = stem
    path = [at]
    for _ in range(4):
        heading += float(anatomy.normal(0, 0.16))
        step = anatomy.uniform(0.025, 0.045) * np.array([side * np.cos(heading), np.sin(heading)])
        path.append(path[-1] + step)
    sheet.line(layer, path, width, min(1.0, 0.2 + width * 24))
    for turn in (-0.42, 0.36) if forks else ():
        turned = heading + turn + float(anatomy.normal(0, 0.15))
        _branch(sheet, layer, anatomy, (side, path[-1], turned, width * 0.68), forks - 1)


def _peripheral(
    sheet: Sheet, outlines: Sequence[_Float64], film: np.random.Generator
) -> tuple[Opacity, ...]:
    """Choose places just inside the lateral wall of the middle and lower lung, on both sides."""
    opacities = []
    for number in range(int(film.integers(3, 7))):
        outline = outlines[number % 2]
        wall = outline[(outline[:, 1] > 0.35) & (outline[:, 1] < 0.86)]
        wall = wall[np.abs(wall[:, 0]) > 0.8]
        x, y = wall[int(film.integers(len(wall)))]
        radius, strength = film.uniform(0.09, 0.17), film.uniform(0.16, 0.30)
        x -= np.sign(x) * film.uniform(0.09, 0.22)
        # Up and inwards where the costophrenic angle is too narrow for it.
        while cv2.pointPolygonTest(outline.astype(np.float32), (x, y), True) < 0.06:
            x, y = x * 0.98, y - 0.01
        ((column, row),) = sheet.place([(x, y)])
        opacities.append(
            Opacity(float(column), float(row), float(radius * sheet.unit_px), float(strength))
        )
    return tuple(opacities)


def _consolidation(
    sheet: Sheet, opacities: Sequence[Opacity], scale: float, film: np.random.Generator
) -> _Float32:
    """Draw patchy densities with ragged edges; `scale` carries film pixels to the sheet's."""
    rows = np.arange(sheet.height, dtype=np.float32)[:, None]
    columns = np.arange(sheet.width, dtype=np.float32)[None, :]
    ragged = 1.0 + 0.25 * np.clip(_grain(sheet, film, 0.04), -2, 2)
    density = sheet.blank()
    for opacity in opacities:
        x, y, radius = (scale * v for v in (opacity.x, opacity.y, opacity.radius_px))
        away = ((columns - x) ** 2 + (rows - y) ** 2) / radius**2
        np.maximum(density, opacity.strength * np.exp(-((away * ragged) ** 1.5)), out=density)
    mottled = np.clip(1.0 + 0.2 * _grain(sheet, film, 0.025), 0.3, 1.5)
    return np.asarray(density * mottled, dtype=np.float32)


def _varied(points: _Float64, anatomy: np.random.Generator) -> _Float64:
    return points + anatomy.normal(0.0, 0.012, points.shape)
