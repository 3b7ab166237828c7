"""Where each pixel of the network's square lies on the film, and back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from cxrclient.films import Taps, resampled, sampled_on_film

_Float32 = npt.NDArray[np.float32]
_Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Geometry:
    """The axis-aligned affine between the network's square and the film.

    Whole numbers are pixel centres, x is the column and y the row; the left edge of a picture is
    therefore at x = -0.5.

    Attributes:
        film_height: rows of the film as it was decoded.
        film_width: columns of the film as it was decoded.
        size_px: side of the network's square.
        affine: float64 [2, 3]; film_x = a·x + b·y + c and film_y = d·x + e·y + f for a point
            (x, y) of the square. b and d are 0; a and e may differ by the rounding of the size.
    """

    film_height: int
    film_width: int
    size_px: int
    affine: _Float64

    def __post_init__(self) -> None:
        """Check shape and meaning once; afterwards the object is valid.

        Raises:
            ValueError: a size is not positive, or the affine is not an axis-aligned scaling.
        """
        affine = np.array(self.affine, dtype=np.float64)
        if min(self.film_height, self.film_width, self.size_px) < 1:
            raise ValueError("geometry: sizes must be positive")
        if affine.shape != (2, 3) or not np.isfinite(affine).all():
            raise ValueError("geometry: the affine must be 2x3 and finite")
        if affine[0, 1] != 0 or affine[1, 0] != 0 or affine[0, 0] <= 0 or affine[1, 1] <= 0:
            raise ValueError("geometry: the affine must scale along the axes without turning")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    def to_array(self) -> _Float32:
        """Give the tensor `GEOMETRY`: float32 [8] = film height, film width, a, b, c, d, e, f."""
        return np.array([self.film_height, self.film_width, *self.affine.ravel()], dtype=np.float32)

    def to_film(self, values: npt.NDArray[np.float32]) -> _Float32:
        """Carry a mask or heatmap of the square onto the film, bilinearly.

        Args:
            values: float [h, w]; stretched over the whole square, so it may be coarser than it.

        Returns:
            float32 [film_height, film_width]; 0 where the film lies outside the square.

        Raises:
            ValueError: the map is not two-dimensional or has no pixels.
        """
        geometry = np.array([self.film_height, self.film_width, *self.affine.ravel()])
        return sampled_on_film(values, geometry, self.size_px)

    def to_network(self, values: npt.ArrayLike) -> _Float32:
        """Carry a mask of the film onto the square, the way the film itself went.

        Args:
            values: [film_height, film_width], any real or boolean type.

        Returns:
            float32 [size_px, size_px]; 0 where the square lies outside the film.

        Raises:
            ValueError: the mask has not the film's size.
        """
        mask = _as_map(values)
        if mask.shape != (self.film_height, self.film_width):
            raise ValueError(
                f"mask of {mask.shape[1]}x{mask.shape[0]} pixels for a film of "
                f"{self.film_width}x{self.film_height}"
            )
        step = max(1, int(min(self.affine[0, 0], self.affine[1, 1])))
        mask = _mean_of_blocks(mask, step)
        extent = mask.shape[0] * step, mask.shape[1] * step
        square = np.arange(self.size_px, dtype=np.float64)
        rows = self.affine[1, 1] * square + self.affine[1, 2]
        columns = self.affine[0, 0] * square + self.affine[0, 2]
        return resampled(
            mask,
            Taps.of(rows, mask.shape[0], extent[0], self.film_height),
            Taps.of(columns, mask.shape[1], extent[1], self.film_width),
        )


def _as_map(values: npt.ArrayLike) -> _Float32:
    array = np.asarray(values, dtype=np.float32)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"expected a map of [rows, columns], got shape {list(array.shape)}")
    return array


def _mean_of_blocks(mask: _Float32, step: int) -> _Float32:
    """Average blocks of step×step, as the film's own reduction does; edges are repeated."""
    if step == 1:
        return mask
    below, right = -mask.shape[0] % step, -mask.shape[1] % step
    mask = cv2.copyMakeBorder(mask, 0, below, 0, right, cv2.BORDER_REPLICATE)
    size = mask.shape[1] // step, mask.shape[0] // step
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
