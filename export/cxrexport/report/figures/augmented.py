"""One film under each of the study's augmentations, by the very transforms that training uses."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import Compose, Randomizable

from cxrexport.report.figures.pictures import Panel
from cxrexport.training.films import FILM, LUNGS, ClampToUnitd, augmentations
from cxrexport.training.recipe import PROBABILITIES, Augmentation

COMBINED = 5
"""Draws of all augmentations together, each with its own probability."""
Maps = npt.NDArray[np.uint8]
_DRAWN = (*PROBABILITIES, "mask_to_lungs")
"""The fields of `Augmentation` that are probabilities, as `augmentations` draws them."""
_CAPTION = 28
"""Letters that fit below a film."""
_DEGREE, _TIMES = "\N{DEGREE SIGN}", "\N{MULTIPLICATION SIGN}"


def augmented_panels(
    film: Maps,
    lungs: Maps | None,
    settings: Augmentation,
    *,
    clahe_tiles: int,
    seed: int = 0,
) -> list[Panel]:
    """Draw each augmentation alone, at the ends of its range, then some combined draws.

    Args:
        film: preprocessed, uint8 [1, S, S].
        lungs: its lung map, uint8 [1, S, S]; drawn as a contour, and moved as the film is.
        settings: probabilities and ranges.
        clahe_tiles: of the preprocessing.
        seed: of the combined draws.
    """
    sample = {
        FILM: torch.from_numpy(film.copy()).float().div(255),
        LUNGS: torch.from_numpy(np.zeros_like(film) if lungs is None else lungs.copy())
        .float()
        .div(255),
    }

    def panel(out: dict[Any, Any], title: str, caption: str) -> Panel:
        return Panel(
            np.asarray(out[FILM], dtype=np.float32)[0],
            title,
            caption,
            None if lungs is None else np.asarray(out[LUNGS], dtype=np.float32)[0],
        )

    def pipeline(chosen: Augmentation) -> Compose:
        return augmentations(chosen, clahe_tiles=clahe_tiles)

    alone = []
    for draw in _draws(settings):
        only = {name: float(name == draw.which) for name in _DRAWN}
        out = _alone(sample, pipeline(settings.model_copy(update=only)), draw)
        alone.append(panel(out, draw.title, draw.caption))
    together = []
    for number in range(COMBINED):
        out, names = _combined(sample, pipeline(settings), seed + number)
        caption = fill(", ".join(names), _CAPTION) or "nothing drawn"
        together.append(panel(out, f"draw {number + 1}", caption))
    return [*alone, *together]


@dataclass(frozen=True)
class _Draw:
    """One augmentation alone: its field's name, the end of its range, what to write below."""

    which: str
    title: str
    caption: str
    upper: bool = True
    choice: int = 0


def _draws(s: Augmentation) -> list[_Draw]:
    """The study's list in its order; each where it differs most from leaving the film as it is."""
    darker, brighter = s.gamma_range[1], s.gamma_range[0]
    gamma = f"of {brighter:g} to {darker:g}; p = {s.gamma:g}"
    grow, shrink = 1 / (1 - s.scale_by), 1 / (1 + s.scale_by)  # MONAI scales the grid, not the film
    scale = f"on both axes\nof {shrink:.2f} to {grow:.2f}; p = {s.scale:g}"
    turn, shear = f"{s.rotate_degrees:g}{_DEGREE}", f"{s.shear_degrees:g}{_DEGREE}"
    clip = f"of {s.clahe_clip_range[0]:g} to {s.clahe_clip_range[1]:g}; p = {s.clahe:g}"
    grey = f"of 1 to {1 + s.brighten_by:g}; p = {s.brighten:g}"
    either = f"at its strongest\np = {s.sharpen_or_blur / 2:g}"
    again = "the same operation as 7,\ndone once; never vertical"
    masked = f"film times lung map; p = {s.mask_to_lungs or 0:g}"
    lungs = [_Draw("mask_to_lungs", "masked to the lungs", masked)] if s.mask_to_lungs else []
    return [
        _Draw("brighten", "1 brighten", f"{_TIMES} {1 + s.brighten_by:g}\n{grey}"),
        _Draw("gamma", "2 gamma, brighter", f"{brighter:g}\n{gamma}", upper=False),
        _Draw("gamma", "2 gamma, darker", f"{darker:g}\n{gamma}"),
        _Draw("clahe", "3 CLAHE", f"clip limit {s.clahe_clip_range[1]:g}\n{clip}"),
        _Draw("rotate", "4 rotate", f"{turn}\nof ±{turn}; p = {s.rotate:g}"),
        _Draw("shear", "5 shear", f"{shear} on both axes\nof ±{shear}; p = {s.shear:g}"),
        _Draw("scale", "6 scale, larger", f"{_TIMES} {grow:.2f} {scale}", upper=False),
        _Draw("scale", "6 scale, smaller", f"{_TIMES} {shrink:.2f} {scale}"),
        _Draw("flip", "7 flip left to right", f"p = {s.flip:g}"),
        _Draw("sharpen_or_blur", "8 either sharpen", either),
        _Draw("sharpen_or_blur", "8 or blur", either, choice=1),
        _Draw("flip", "9 horizontal flip", again),
        *lungs,
    ]


def _alone(sample: dict[str, Any], pipeline: Compose, draw: _Draw) -> dict[Any, Any]:
    _pin(pipeline, _AtTheEnd(draw.upper, draw.choice))
    out: dict[Any, Any] = pipeline(dict(sample))
    return out


def _combined(
    sample: dict[str, Any], pipeline: Compose, seed: int
) -> tuple[dict[Any, Any], list[str]]:
    """One draw as training draws it, and which augmentations changed the film or its lungs."""
    pipeline.set_random_state(seed)
    out: dict[Any, Any] = dict(sample)
    names = []
    drawn = iter(_DRAWN)
    for step in pipeline.transforms:
        before = torch.as_tensor(out[FILM]).clone()
        out = step(out)
        if isinstance(step, ClampToUnitd):
            continue
        name = next(drawn)
        if not torch.equal(before, torch.as_tensor(out[FILM])):
            names.append(name.replace("_", " "))
    return out, names


class _AtTheEnd(np.random.RandomState):
    """Draws every coin as heads and every number at one end of its range."""

    def __init__(self, upper: bool, choice: int) -> None:
        super().__init__(0)
        self.upper, self.choice_of_two = upper, choice

    def rand(self, *shape: int) -> Any:
        return np.zeros(shape) if shape else 0.0

    def random(self, size: Any = None) -> Any:
        return 0.0

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return high if self.upper else low

    def multinomial(self, n: Any, pvals: Any, size: Any = None) -> Any:
        return np.eye(len(pvals), dtype=int)[self.choice_of_two]


def _pin(step: Any, state: np.random.RandomState) -> None:
    """Give every transform this state; MONAI's Compose would seed its children from it instead."""
    if isinstance(step, Compose):
        for child in step.transforms:
            _pin(child, state)
        step.R = state
    elif isinstance(step, Randomizable):
        step.set_random_state(state=state)
