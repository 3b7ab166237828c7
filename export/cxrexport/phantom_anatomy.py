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

__all__ = ["Opacity", "Sheet", "draw_thorax"]

_Float32 = npt.NDArray[np.float32]
_Float64 = npt.NDArray[np.float64]

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


@dataclass(frozen=True, eq=False)
class Sheet:
    """The film to draw on, and where the thorax lies on it.

    Attributes:
        height: film rows.
        width: film columns.
        unit_px: film pixels of one thorax unit along x.
        stretch: how much longer a unit of y is than one of x.
        origin: film x and y of the thorax's (0, 0).
        angle: how far the patient leans, radians.
    """

    height: int
    width: int
    unit_px: float
    stretch: float
    origin: tuple[float, float]
    angle: float

    def place(self, points: npt.ArrayLike) -> _Float64:
        """Carry thorax points [n, 2] to film pixels [n, 2]."""
        x, y = np.asarray(points, dtype=np.float64).T * self.unit_px
        y = y * self.stretch
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)
        return np.asarray(turned + self.origin, dtype=np.float64)

    def filled(self, outline: npt.ArrayLike, blur: float = 0.0) -> _Float32:
        """Fill a closed outline with 1, its edge softened over `blur` thorax units."""
        layer = np.zeros((self.height, self.width), dtype=np.float32)
        cv2.fillPoly(layer, [_fixed(self.place(outline))], 1.0, cv2.LINE_8, 4)
        return self.soft(layer, blur)

    def line(self, layer: _Float32, points: npt.ArrayLike, width: float, value: float) -> None:
        """Draw a line of `width` thorax units onto a layer."""
        thickness = max(1, round(width * self.unit_px))
        path = [_fixed(self.place(points))]
        cv2.polylines(layer, path, False, value, thickness, cv2.LINE_8, 4)

    def blank(self) -> _Float32:
        """Give an empty layer."""
        return np.zeros((self.height, self.width), dtype=np.float32)

    def soft(self, layer: _Float32, blur: float) -> _Float32:
        """Blur a layer by `blur` thorax units."""
        sigma = blur * self.unit_px
        if sigma < 0.3:
            return layer
        # Wide blurs are taken on a smaller copy: no eye can tell, and it is ten times faster.
        shrink = max(1, int(sigma // 4))
        small = cv2.resize(
            layer, (-(-self.width // shrink), -(-self.height // shrink)),
            interpolation=cv2.INTER_AREA,
        )  # fmt: skip
        small = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
        size = (self.width, self.height)
        return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.float32)


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
        _spline(_varied(points, anatomy) * (side, 1.0))
        for side, points in ((-1.0, _RIGHT_LUNG), (1.0, _LEFT_LUNG))
    ]
    fields = np.maximum(*(sheet.filled(outline) for outline in outlines))
    density = _soft_tissue(sheet, anatomy)
    air = sheet.soft(fields, 0.012)
    density -= air * (0.30 + 0.16 * sheet.soft(fields, 0.18))
    density += _mediastinum(sheet, anatomy) + _bones(sheet, anatomy)
    density += _vessels(sheet, anatomy) * air
    opacities: tuple[Opacity, ...] = ()
    if positive:
        opacities = _peripheral(sheet, outlines, film)
        density += _consolidation(sheet, opacities, film) * air
    return density, fields > 0, opacities


def _soft_tissue(sheet: Sheet, anatomy: np.random.Generator) -> _Float32:
    """Neck, shoulders and trunk, denser towards the middle; breasts; abdomen below the domes."""
    half = _BODY * (anatomy.uniform(0.96, 1.12), 1.0)
    body = sheet.filled(np.concatenate([half, half[::-1] * (-1.0, 1.0)]), 0.03)
    density = body * (0.50 + 0.10 * sheet.soft(body, 0.25))
    if anatomy.random() < 0.5:
        drop = anatomy.uniform(0.60, 0.72)
        for side in (-1, 1):
            breast = sheet.filled(_ellipse((side * 0.58, drop), (0.36, 0.28)), 0.02)
            density += anatomy.uniform(0.03, 0.06) * breast
    dome = [(-1.3, 1.1), (-0.95, 0.98), (-0.6, 0.83), (-0.3, 0.84), (0.0, 0.9), (0.3, 0.9)]
    dome += [(0.66, 0.9), (0.95, 1.0), (1.3, 1.1), (1.3, 2.2), (-1.3, 2.2)]
    density += 0.14 * sheet.filled(dome, 0.03) * body
    bubble = _ellipse((anatomy.uniform(0.48, 0.6), 1.03), (anatomy.uniform(0.1, 0.2), 0.07))
    density -= anatomy.uniform(0.05, 0.18) * sheet.filled(bubble, 0.02)
    return density


def _mediastinum(sheet: Sheet, anatomy: np.random.Generator) -> _Float32:
    """Spine with its discs, upper mediastinum, aortic knob, heart; the trachea as air."""
    width = anatomy.uniform(0.15, 0.2)
    band = [(-width, -0.1), (width, -0.1), (width, 0.9), (-width, 0.9)]
    density = 0.09 * sheet.filled(band, 0.03)
    spine = sheet.blank()
    for level in np.arange(-0.5, 1.8, 0.115):
        outline = [(-0.1, level), (0.1, level), (0.1, level + 0.085), (-0.1, level + 0.085)]
        cv2.fillPoly(spine, [_fixed(sheet.place(outline))], 1.0, cv2.LINE_8, 4)
    density += 0.10 * sheet.soft(spine, 0.012)
    knob = _ellipse((0.17, anatomy.uniform(0.28, 0.33)), (0.09, 0.08))
    density += 0.07 * sheet.filled(knob, 0.012)
    heart = _ellipse((0.14, 0.70), (anatomy.uniform(0.38, 0.46), 0.24), 0.45)
    density += anatomy.uniform(0.14, 0.2) * sheet.filled(heart, 0.02)
    airway = sheet.blank()
    sheet.line(airway, [(0.0, -0.6), (0.01, 0.36)], 0.075, 1.0)
    sheet.line(airway, [(0.01, 0.34), (-0.16, 0.47)], 0.05, 0.7)
    sheet.line(airway, [(0.01, 0.34), (0.18, 0.49)], 0.05, 0.7)
    return density - 0.10 * sheet.soft(airway, 0.015)


def _bones(sheet: Sheet, anatomy: np.random.Generator) -> _Float32:
    """Ribs behind and in front, clavicles and shoulder blades."""
    behind, before = sheet.blank(), sheet.blank()
    along = np.linspace(0.0, 1.0, 40)
    slope = anatomy.uniform(0.9, 1.15)
    for side in (-1, 1):
        for number in range(10):
            top = -0.03 + 0.095 * number
            reach = float(np.interp(number, [0, 2, 5, 9], [0.62, 0.84, 0.97, 1.02]))
            rib = _arch(side, along, (0.09, top), reach, slope * (0.10 + 0.012 * number))
            _bone(sheet, behind, rib, 0.058)
            if 1 <= number <= 6:
                front = _front_rib(side, along, 0.10 + 0.115 * number, reach)
                _bone(sheet, before, front, 0.07)
    density = 0.062 * sheet.soft(behind, 0.006) + 0.035 * sheet.soft(before, 0.009)
    girdle = sheet.blank()
    lift = anatomy.uniform(-0.03, 0.06)
    for side in (-1, 1):
        x = 0.10 + 0.95 * along
        clavicle = np.stack([side * x, 0.12 - 0.14 * along - lift * np.sin(np.pi * along)], 1)
        _bone(sheet, girdle, clavicle, 0.055)
    density += 0.085 * sheet.soft(girdle, 0.006)
    for side in (-1, 1):
        blade = [(side * 1.02, 0.0), (side * 1.25, 0.05), (side * 1.08, 0.5), (side * 0.98, 0.3)]
        density += 0.05 * sheet.filled(blade, 0.02)
    return density


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
    for side, hilum in ((-1, (-0.22, 0.47)), (1, (0.25, 0.44))):
        for heading in np.linspace(-1.25, 1.35, 9):
            toward = heading + anatomy.normal(0, 0.12)
            start = np.array(hilum) + anatomy.normal(0, 0.02, 2)
            _branch(sheet, layer, anatomy, side, start, toward, 0.03, 3)
    for x, y in ((-0.23, 0.47), (0.26, 0.44)):
        cv2.fillPoly(layer, [_fixed(sheet.place(_ellipse((x, y), (0.07, 0.11))))], 0.9)
    return 0.11 * sheet.soft(layer, 0.009)


def _branch(
    sheet: Sheet, layer: _Float32, anatomy: np.random.Generator, side: int, start: _Float64,
    heading: float, width: float, forks: int,
) -> None:  # fmt: skip
    length = anatomy.uniform(0.14, 0.22)
    bend = heading + anatomy.normal(0, 0.25)
    middle = start + 0.5 * length * np.array([side * np.cos(heading), np.sin(heading)])
    end = middle + 0.5 * length * np.array([side * np.cos(bend), np.sin(bend)])
    sheet.line(layer, [start, middle, end], width, min(1.0, 0.25 + width * 25))
    for turn in (-0.35, 0.35) if forks else ():
        turned = bend + turn + anatomy.normal(0, 0.1)
        _branch(sheet, layer, anatomy, side, end, turned, width * 0.62, forks - 1)


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
    sheet: Sheet, opacities: Sequence[Opacity], film: np.random.Generator
) -> _Float32:
    """Draw patchy densities with ragged edges at the places given."""
    rows = np.arange(sheet.height, dtype=np.float32)[:, None]
    columns = np.arange(sheet.width, dtype=np.float32)[None, :]
    grain = sheet.soft(film.standard_normal((sheet.height, sheet.width), np.float32), 0.025)
    grain /= max(float(grain.std()), 1e-6)
    density = sheet.blank()
    for opacity in opacities:
        away = ((columns - opacity.x) ** 2 + (rows - opacity.y) ** 2) / opacity.radius_px**2
        np.maximum(density, opacity.strength * np.exp(-(away**1.5)), out=density)
    return np.asarray(density * np.clip(1.0 + 0.3 * grain, 0.2, 1.6), dtype=np.float32)


def _varied(points: _Float64, anatomy: np.random.Generator) -> _Float64:
    return points + anatomy.normal(0.0, 0.012, points.shape)


def _spline(points: _Float64, steps: int = 12) -> _Float64:
    """Round a closed outline: Catmull-Rom through every point."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    rounded = []
    for i in range(len(points)):
        p0, p1, p2, p3 = (points[(i + k) % len(points)] for k in (-1, 0, 1, 2))
        linear, square, cube = p2 - p0, 2 * p0 - 5 * p1 + 4 * p2 - p3, 3 * (p1 - p2) + p3 - p0
        rounded.append(0.5 * (2 * p1 + linear * t + square * t**2 + cube * t**3))
    return np.concatenate(rounded)


def _ellipse(
    centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0
) -> _Float64:
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    x, y = radii[0] * np.cos(t), radii[1] * np.sin(t)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y], axis=1)


def _fixed(points: _Float64) -> npt.NDArray[np.int32]:
    """Give points as OpenCV's fixed-point numbers with 4 fractional bits."""
    return np.asarray(np.rint(points * 16), dtype=np.int32)
