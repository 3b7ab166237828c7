"""The same steps as the product's preprocessing, as they are written when speed is no matter.

Each takes the bytes of a DICOM object and gives a square of 0..1: modality and VOI LUT, polarity,
crop of black edges, percentiles 1 and 99, bilinear to `size_px`, padding, CLAHE.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Preprocess = Callable[[bytes], Image]

CLIP_LIMIT, TILES, BLACK = 2.0, 8, 0.05


def naive_numpy(encoded: bytes, size_px: int) -> Image:
    """Work on every pixel with numpy and pydicom's functions; OpenCV for scaling and CLAHE."""
    film = _cropped(_seen(encoded))
    black, white = np.percentile(film, (1, 99))
    film = np.clip((film - black) / (white - black), 0, 1)
    rows, columns = _scaled_shape(film.shape, size_px)
    film = cv2.resize(film, (columns, rows), interpolation=cv2.INTER_LINEAR)
    grey = np.rint(_padded(film, size_px) * 255).astype(np.uint8)
    equalised = cv2.createCLAHE(CLIP_LIMIT, (TILES, TILES)).apply(grey)
    return (equalised / 255).astype(np.float32)


def numpy_alone(encoded: bytes, size_px: int) -> Image:
    """Do the same with numpy for scaling and CLAHE too."""
    film = _cropped(_seen(encoded))
    black, white = np.percentile(film, (1, 99))
    film = np.clip((film - black) / (white - black), 0, 1)
    rows, columns = _scaled_shape(film.shape, size_px)
    film = _interpolated(_interpolated(film, rows).T, columns).T
    grey = np.rint(_padded(film, size_px) * 255).astype(np.intp)
    return (_clahe(grey) / 255).astype(np.float32)


def monai_and_skimage(size_px: int) -> Preprocess:
    """MONAI's transforms, and the CLAHE of scikit-image; pydicom reads, as MONAI knows no VOI."""
    from monai.transforms import (
        Compose,
        CropForeground,
        EnsureChannelFirst,
        Resize,
        ResizeWithPadOrCrop,
        ScaleIntensityRangePercentiles,
    )
    from skimage.exposure import equalize_adapthist

    def film_proper(film: Any) -> Any:
        return film > BLACK * film.max()

    transforms = Compose(
        [
            EnsureChannelFirst(channel_dim="no_channel"),
            CropForeground(select_fn=film_proper, allow_smaller=True),
            ScaleIntensityRangePercentiles(1, 99, 0.0, 1.0, clip=True),
            Resize(size_px, size_mode="longest", mode="bilinear"),
            ResizeWithPadOrCrop((size_px, size_px)),
        ]
    )

    def preprocess(encoded: bytes) -> Image:
        film = transforms(_seen(encoded).astype(np.float32)).numpy()[0]
        tile = size_px // TILES
        # OpenCV's limit is in counts of a flat histogram, scikit-image's in shares of the tile.
        equalised = equalize_adapthist(film, kernel_size=tile, clip_limit=CLIP_LIMIT / 256)
        return np.asarray(equalised, dtype=np.float32)

    return preprocess


def _seen(encoded: bytes) -> npt.NDArray[np.float64]:
    from pydicom import dcmread
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    dataset = dcmread(io.BytesIO(encoded))
    seen = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    film = np.asarray(seen, dtype=np.float64)
    film -= film.min()
    return film.max() - film if dataset.PhotometricInterpretation == "MONOCHROME1" else film


def _cropped(film: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shown = film > BLACK * film.max()
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    return film[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scaled_shape(shape: tuple[int, ...], size_px: int) -> tuple[int, int]:
    longer = max(shape)
    return round(shape[0] * size_px / longer), round(shape[1] * size_px / longer)


def _padded(film: npt.NDArray[np.float64], size_px: int) -> npt.NDArray[np.float64]:
    rows, columns = film.shape
    before = (size_px - rows) // 2, (size_px - columns) // 2
    after = size_px - rows - before[0], size_px - columns - before[1]
    return np.pad(film, tuple(zip(before, after, strict=True)))


def _interpolated(film: npt.NDArray[np.float64], lines: int) -> npt.NDArray[np.float64]:
    place = np.clip((np.arange(lines) + 0.5) * len(film) / lines - 0.5, 0, len(film) - 1)
    first = np.floor(place).astype(int)
    second = np.minimum(first + 1, len(film) - 1)
    weight = (place - first)[:, None]
    return film[first] * (1 - weight) + film[second] * weight


def _clahe(grey: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    size = len(grey)
    side = size // TILES
    tables = np.empty((TILES, TILES, 256))
    for row in range(TILES):
        for column in range(TILES):
            tile = grey[row * side : (row + 1) * side, column * side : (column + 1) * side]
            counts = np.bincount(tile.ravel(), minlength=256).astype(float)
            limit = CLIP_LIMIT * tile.size / 256
            counts = np.minimum(counts, limit) + np.maximum(counts - limit, 0).sum() / 256
            tables[row, column] = np.cumsum(counts) * 255 / tile.size
    place = np.arange(size) / side - 0.5
    before = np.floor(place).astype(int)
    near, far, weight = np.maximum(before, 0), np.minimum(before + 1, TILES - 1), place - before
    equalised = np.zeros(grey.shape)
    for rows, down in ((near, 1 - weight), (far, weight)):
        for columns, right in ((near, 1 - weight), (far, weight)):
            equalised += tables[rows[:, None], columns, grey] * down[:, None] * right
    return np.rint(equalised)
