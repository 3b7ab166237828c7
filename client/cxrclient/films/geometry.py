"""Reading the GEOMETRY tensor: how the network's square lies on the film.

The tensor is [H, W, a, b, c, d, e, f]: film height and width in pixels, and the affine from the
centre (x, y) of a network pixel to film pixel centres, `film_x = a·x + b·y + c`,
`film_y = d·x + e·y + f`; a whole number is a centre.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cxrclient.films.limits import MAX_PIXELS

FloatArray = npt.NDArray[np.floating[Any]]

_LONGEST_SIDE = 65_535  # DICOM's, of rows and columns

LUNG_PROBABILITY = 0.5
"""From here on a pixel counts as lung, in masks, contours and fractions alike."""


def film_size(geometry: FloatArray) -> tuple[int, int]:
    """Height and width of the film in pixels.

    Raises:
        ValueError: the tensor has not eight finite numbers, or turns the film inside out.
    """
    numbers = np.asarray(geometry, dtype=np.float64)
    if numbers.shape != (8,) or not np.isfinite(numbers).all():
        raise ValueError(f"geometry must be 8 finite numbers, not {numbers.shape}")
    a, b, _, d, e, _ = numbers[2:]
    if numbers[0] < 1 or numbers[1] < 1 or a * e - b * d == 0:
        raise ValueError("geometry describes no film")
    return round(float(numbers[0])), round(float(numbers[1]))


def require_plausible(geometry: FloatArray, image_size_px: int) -> None:
    """Make sure that it is the geometry of a film that a server takes, and of a crop of it.

    The longer side of the crop fills the square, so there the square lies within the film; along
    the other one it is centred on the crop.

    Args:
        geometry: [8].
        image_size_px: side S of the square.

    Raises:
        ValueError: it is not.
    """
    height, width = film_size(geometry)
    if (height, width) != (geometry[0], geometry[1]):
        raise ValueError("geometry describes half a pixel")
    if height * width > MAX_PIXELS or max(height, width) > _LONGEST_SIDE:
        raise ValueError("geometry describes more pixels than any film has")
    a, b, c, d, e, f = (float(number) for number in geometry[2:])
    if b or d or a <= 0 or e <= 0:
        raise ValueError("geometry turns or shears the film")
    within = []
    for length, scale, offset in ((width, a, c), (height, e, f)):
        # Edges of the square, in film pixels from the film's own edge; float32 has seven digits.
        first, last = offset + 0.5 - scale / 2, offset + 0.5 + scale * (image_size_px - 0.5)
        slack = 1 + 1e-6 * length
        within.append(first >= -slack and last <= length + slack)
        if not -scale - slack <= (first + last) / 2 <= length + scale + slack:
            raise ValueError("geometry puts the square beside the film")
    if not any(within):
        raise ValueError("geometry makes the film smaller than the square")


def sampled_on_film(
    values: FloatArray, geometry: FloatArray, image_size_px: int, step_px: int = 1
) -> npt.NDArray[np.float32]:
    """A map of the network's square, read bilinearly at the film's pixels.

    Args:
        values: [h, w]; stretched over the whole square, so it may be coarser than it.
        geometry: [8].
        image_size_px: side S of the square.
        step_px: 1 for every pixel of the film, n for the middle of each n×n of them.

    Returns:
        float32 [film height // n, film width // n]; 0 where the film lies outside the square.

    Raises:
        ValueError: the map is not two-dimensional, or the geometry describes no film.
    """
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"a map is [rows, columns], not {list(values.shape)}")
    height, width = film_size(geometry)
    a, b, c, d, e, f = (float(number) for number in geometry[2:])
    if b or d:
        raise ValueError("geometry turns or shears the film")
    # Whole numbers are centres; of n×n pixels the middle is asked for.
    rows, columns = (
        Taps.of(
            ((step_px - 1) / 2 + step_px * np.arange(max(1, length // step_px)) - offset) / scale,
            samples,
            image_size_px,
        )
        for length, scale, offset, samples in (
            (height, e, f, values.shape[0]),
            (width, a, c, values.shape[1]),
        )
    )
    return resampled(np.asarray(values, dtype=np.float32), rows, columns)


class Taps(NamedTuple):
    """Where each line of a result is read from.

    Its two neighbours in the input, the second one's weight, and whether it lies in the picture.
    """

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    weight: npt.NDArray[np.float32]
    inside: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        at: npt.NDArray[np.float64],
        samples: int,
        extent: int,
        visible: int | None = None,
    ) -> Taps:
        """Read a picture at places.

        Args:
            at: pixels of the picture; whole numbers are centres.
            samples: of the input, stretched over the picture's `extent` pixels.
            extent: how wide or high the picture is.
            visible: how much of that the result may be read from; None for all.
        """
        inside = (at >= -0.5) & (at < (extent if visible is None else visible) - 0.5)
        place = np.clip((at + 0.5) * (samples / extent) - 0.5, 0, samples - 1)
        first = place.astype(np.intp)
        second = np.minimum(first + 1, samples - 1)
        return cls(first, second, (place - first).astype(np.float32), inside)


def resampled(
    values: npt.NDArray[np.float32], rows: Taps, columns: Taps
) -> npt.NDArray[np.float32]:
    """Interpolate [rows, columns] along x, then y; 0 outside the picture.

    Not cv2.warpAffine or cv2.remap: they round places to 1/32 pixel, which shows as steps when a
    coarse heatmap is stretched sixtyfold.
    """
    wide = values[:, columns.first]
    wide += (values[:, columns.second] - wide) * columns.weight
    wide[:, ~columns.inside] = 0
    film = wide[rows.first]
    film += (wide[rows.second] - film) * rows.weight[:, np.newaxis]
    film[~rows.inside] = 0
    return film


def lung_fraction(lungs: FloatArray, geometry: FloatArray) -> float:
    """Share of the film's area where the lung probability is at least one half.

    It is the mean of the mask at the film's size; of large films every n-th pixel is asked, about
    half a million in all, which tells the share to the third decimal.

    Args:
        lungs: [S, S], probability.
        geometry: [8].

    Returns:
        0..1.
    """
    step_px = max(1, min(film_size(geometry)) // 512)
    on_film = sampled_on_film(lungs, geometry, lungs.shape[0], step_px)
    return float(np.mean(on_film >= LUNG_PROBABILITY))
