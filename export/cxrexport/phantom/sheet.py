"""The film that a phantom is drawn on, and the shapes to draw."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

_Float32 = npt.NDArray[np.float32]
_Float64 = npt.NDArray[np.float64]


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

    def reduced(self, longest_px: int) -> Sheet:
        """Give the same sheet with fewer pixels."""
        scale = min(1.0, longest_px / max(self.height, self.width))
        return Sheet(
            height=max(1, round(self.height * scale)),
            width=max(1, round(self.width * scale)),
            unit_px=self.unit_px * scale,
            stretch=self.stretch,
            origin=(self.origin[0] * scale, self.origin[1] * scale),
            angle=self.angle,
        )

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
        cv2.fillPoly(layer, [fixed_point(self.place(outline))], 1.0, cv2.LINE_8, 4)
        return self.soft(layer, blur)

    def line(self, layer: _Float32, points: npt.ArrayLike, width: float, value: float) -> None:
        """Draw a line of `width` thorax units onto a layer."""
        thickness = max(1, round(width * self.unit_px))
        path = [fixed_point(self.place(points))]
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


def spline(points: _Float64, steps: int = 12) -> _Float64:
    """Round a closed outline: Catmull-Rom through every point."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    rounded = []
    for i in range(len(points)):
        p0, p1, p2, p3 = (points[(i + k) % len(points)] for k in (-1, 0, 1, 2))
        linear, square, cube = p2 - p0, 2 * p0 - 5 * p1 + 4 * p2 - p3, 3 * (p1 - p2) + p3 - p0
        rounded.append(0.5 * (2 * p1 + linear * t + square * t**2 + cube * t**3))
    return np.concatenate(rounded)


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0
) -> _Float64:
    """Outline an ellipse."""
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    x, y = radii[0] * np.cos(t), radii[1] * np.sin(t)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y], axis=1)


def box(centre: tuple[float, float], half_width: float, half_height: float) -> _Float64:
    """Outline a rectangle."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=np.float64)
    return np.asarray(corners * (half_width, half_height) + centre)


def fixed_point(points: _Float64) -> npt.NDArray[np.int32]:
    """Give points as OpenCV's fixed-point numbers with 4 fractional bits."""
    return np.asarray(np.rint(points * 16), dtype=np.int32)
