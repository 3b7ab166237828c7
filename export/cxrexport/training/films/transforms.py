"""MONAI transforms: the one adapter over preprocessing, and the study's random augmentations.

Dictionaries carry `film` [1, S, S] in 0..1 and `lungs` [1, S, S] in 0..1. Geometry moves both
alike; intensity changes the film only. Lung maps come from the film before augmentation, so both
are computed once and cached (docs/adr/0005).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import (
    Compose,
    MapTransform,
    OneOf,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianSharpend,
    RandGaussianSmoothd,
    Randomizable,
    RandRotated,
    RandScaleIntensityd,
    Transform,
)

from cxrclient.errors import Rejected
from cxrexport.errors import CxrExportError
from cxrexport.manifest.masks import read_mask
from cxrexport.networks import EMPTY
from cxrexport.preprocessing import PreprocessingSpec, preprocess
from cxrexport.training.recipe import Augmentation

FILM, LUNGS = "film", "lungs"


class PreprocessFilmd(Transform):  # type: ignore[misc]  # MONAI is untyped here
    """Replace `film` (a path) by the preprocessed film, and `mask` (a path) by `lungs`.

    The film becomes uint8 [1, S, S]: CLAHE works on 8 bits, so 255 levels lose nothing and a
    thousand films fit in memory. The mask takes the way that the film took.

    Raises:
        FilmError: the film cannot be judged; the sentence begins with its file name.
    """

    def __init__(self, spec: PreprocessingSpec) -> None:
        self.spec = spec

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Preprocess one film; see the class."""
        path = Path(data[FILM])
        try:
            film = preprocess(path.read_bytes(), self.spec)
        except Rejected as error:
            raise type(error)(f"{path.name}: {error.message}") from error
        out: dict[Hashable, Any] = {**data, FILM: torch.from_numpy(_to_bytes(film.image))}
        if data.get("mask"):
            mask = read_mask(Path(data["mask"]))
            shape = (film.geometry.film_height, film.geometry.film_width)
            if mask is None or mask.shape != shape:
                raise CxrExportError(
                    f"{data['mask']} must be an image of its film's size, {shape[1]} by {shape[0]}."
                )
            lungs = film.geometry.to_network((mask > 0).astype(np.float32))
            out[LUNGS] = torch.from_numpy(_to_bytes((lungs >= 0.5)[None]))
        return out


def _to_bytes(unit: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """0..1 → uint8 0..255."""
    levels: npt.NDArray[np.uint8] = np.rint(unit * np.float32(255)).astype(np.uint8)
    return levels


class LungMapd(Transform):  # type: ignore[misc]  # MONAI is untyped here
    """Add `lungs`, uint8 [1, S, S], from `film` by a trained lung network."""

    def __init__(self, network: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.network = network

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Segment one film."""
        with torch.inference_mode():
            probability = self.network(data[FILM].float().div(255).unsqueeze(0))[0]
        return {**data, LUNGS: torch.from_numpy(_to_bytes(probability.cpu().float().numpy()))}


class ToUnitRanged(Transform):  # type: ignore[misc]  # MONAI is untyped here
    """Turn cached uint8 maps into float32 in 0..1."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert `film` and `lungs` where present."""
        return {k: v.float().div(255) if k in (FILM, LUNGS) else v for k, v in data.items()}


class RandClahed(Randomizable, MapTransform):  # type: ignore[misc]  # as above
    """CLAHE of a random clip limit, with a probability; MONAI has none.

    Args:
        keys: of the maps.
        prob: probability.
        clip_range: smallest and largest clip limit.
        tiles: along each side.
    """

    def __init__(self, keys: str, prob: float, clip_range: tuple[float, float], tiles: int) -> None:
        MapTransform.__init__(self, keys)
        self.prob, self.clip_range, self.tiles = prob, clip_range, tiles

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Filter each key's map, float [1, S, S] in 0..1."""
        out = dict(data)
        if self.R.random() >= self.prob:
            return out
        clahe = cv2.createCLAHE(self.R.uniform(*self.clip_range), (self.tiles, self.tiles))
        for key in self.key_iterator(out):
            levels = _to_bytes(np.asarray(out[key]))[0]
            out[key] = torch.from_numpy(clahe.apply(levels)[None]).float().div(255)
        return out


class ClampToUnitd(MapTransform):  # type: ignore[misc]  # as above
    """Bring maps back to 0..1 after resampling and intensity changes."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Clamp each key's map."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = torch.as_tensor(out[key]).clamp(0, 1)
        return out


class RandMaskToLungsd(Randomizable, Transform):  # type: ignore[misc]  # as above
    """Multiply `film` by `lungs` with a probability; a film without lungs stays as it is."""

    def __init__(self, prob: float) -> None:
        self.prob = prob

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Mask one film."""
        drawn = self.R.random() < self.prob
        if not drawn or data[LUNGS].mean() <= EMPTY:
            return dict(data)
        return {**data, FILM: data[FILM] * data[LUNGS]}


def augmentations(settings: Augmentation, *, clahe_tiles: int) -> Compose:
    """Build the study's nine augmentations, each drawn on its own, parameters uniform.

    Masking to the lungs, which is ours, comes last, as a network with `input: masked` does it.

    Its list has "flip left to right" and "horizontal flip": the same operation, and two fair
    coins make one. Never vertical: the heart has a side, and a chest an upper end.

    Args:
        settings: probabilities and ranges.
        clahe_tiles: of the preprocessing (`PreprocessingSpec.clahe_tiles`), so that the film is
            equalised in the tiles that the network will see it equalised in.

    Source: the study's supplement; PAPER's wording "[7,7] degrees" is read as ±7.
    """
    both = [FILM, LUNGS]
    resample: dict[str, Any] = {"mode": "bilinear", "padding_mode": "zeros"}
    shear = math.tan(math.radians(settings.shear_degrees))
    steps: list[Transform] = [
        RandScaleIntensityd(FILM, factors=(0.0, settings.brighten_by), prob=settings.brighten),
        RandAdjustContrastd(FILM, prob=settings.gamma, gamma=settings.gamma_range),
        ClampToUnitd(FILM),
        RandClahed(FILM, settings.clahe, settings.clahe_clip_range, clahe_tiles),
        RandRotated(
            both, range_x=math.radians(settings.rotate_degrees), prob=settings.rotate, **resample
        ),
        RandAffined(both, prob=settings.shear, shear_range=(shear, shear), **resample),
        RandAffined(
            both,
            prob=settings.scale,
            scale_range=(settings.scale_by, settings.scale_by),
            **resample,
        ),
        RandFlipd(both, prob=settings.flip, spatial_axis=1),
        OneOf(
            [
                RandGaussianSharpend(
                    FILM, alpha=settings.sharpen_by or (10.0, 30.0), prob=settings.sharpen_or_blur
                ),
                RandGaussianSmoothd(
                    FILM, sigma_x=(0.25, 1.5), sigma_y=(0.25, 1.5), prob=settings.sharpen_or_blur
                ),
            ]
        ),
        ClampToUnitd(both),
    ]
    if settings.mask_to_lungs:
        steps.append(RandMaskToLungsd(settings.mask_to_lungs))
    return Compose(steps)
