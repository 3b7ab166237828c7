"""Films with a part blanked out: where does the network find what it decides by?

A network that knows the disease needs the lungs. One that still tells the classes with the lungs
blanked, or from a frame around the film, has learnt something else: a marker, the collimation, the
hospital. Interventions on the network's input ask for it:

    no_lungs              the lungs blanked out, and their map too
    only_lungs            everything but the lungs blanked out
    only_border           a frame kept, everything inside it blanked out, and the lung map too
    no_lungs_map_kept     as no_lungs, but the lung map stays
    only_border_map_kept  as only_border, but the lung map stays

What is blanked takes the mean grey of what is kept: a grey of the whole film would whisper of the
part that the network must not see. What stays visible of a blanked part is its outline, in
`no_lungs` and `only_lungs` the (widened) outline of the lungs; `only_border` hides it.

The lung map keeps what the network could know from the visible film. In `only_lungs` it stays.
In `no_lungs` and `only_border` it is zeroed, as it is for a film whose lungs are not found: the
map's shape (a lung that an effusion has shortened) is information about the lungs, and would
otherwise come in by the second channel. A network that pools over the lungs pools over the whole
film where the map is empty, which is not how it learnt. So both are asked with the map kept as
well: then it decides by what lies where the lungs were, and the map's shape is all it can know of
them. Of networks that pool over the lungs alone the verdict counts these.

Blanked films are unlike any that the network learnt from. So a low figure says little of itself; a
high one says that what is left is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch.nn.functional import interpolate, max_pool2d

LUNG_THRESHOLD = 0.5
"""Lung probability from which a pixel is lung; the served mask's threshold."""
DILATION_SHARE = 0.03
"""How far the lungs are widened, as a share of the side: a lung map a little too small would leave
the lung's rim visible, and the pleura, where effusions lie, is the rim itself."""
BORDER_SHARE = 0.10
"""Width of the frame that `only_border` keeps, as a share of the side."""
NEUTRAL_GREY = 0.5
"""Grey of a film of which nothing is kept."""

Pair: TypeAlias = tuple[torch.Tensor, torch.Tensor]


def no_lungs(film: torch.Tensor, lungs: torch.Tensor) -> Pair:
    """Blank the lungs out; a film without lungs stays as it is.

    Args:
        film: float [N, 1, S, S] in 0..1.
        lungs: float [N, 1, S, S], lung probability.

    Returns:
        Film and lung map as the network gets them; the lung map is 0.

    Raises:
        ValueError: the shapes are not as above.
    """
    return _blanked(film, ~_widened(_checked(film, lungs))), torch.zeros_like(lungs)


def only_lungs(film: torch.Tensor, lungs: torch.Tensor) -> Pair:
    """Blank everything but the lungs; a film without lungs becomes one even grey.

    Arguments, return value and errors as for `no_lungs`, but the lung map stays.
    """
    return _blanked(film, _widened(_checked(film, lungs))), lungs


def only_border(film: torch.Tensor, lungs: torch.Tensor) -> Pair:
    """Keep a frame of a tenth of the side, blank what is inside it.

    Arguments, return value and errors as for `no_lungs`.
    """
    _checked(film, lungs)
    side = film.shape[-1]
    width = max(1, round(BORDER_SHARE * side))
    keep = torch.ones_like(film, dtype=torch.bool)
    keep[..., width : side - width, width : side - width] = False
    return _blanked(film, keep), torch.zeros_like(lungs)


def _map_kept(blank: Callable[[torch.Tensor, torch.Tensor], Pair]) -> Callable[..., Pair]:
    """The same intervention on the film alone."""
    return lambda film, lungs: (blank(film, lungs)[0], lungs)


INTERVENTIONS: Mapping[str, Callable[[torch.Tensor, torch.Tensor], Pair]] = {
    "no_lungs": no_lungs,
    "only_lungs": only_lungs,
    "only_border": only_border,
    "no_lungs_map_kept": _map_kept(no_lungs),
    "only_border_map_kept": _map_kept(only_border),
}
"""Every intervention by the name that `Scores.blanked` knows it by."""


def lung_area(lungs: torch.Tensor) -> torch.Tensor:
    """Which pixels are lung: bool, the shape of `lungs`."""
    return lungs >= LUNG_THRESHOLD


def lung_share(lungs: torch.Tensor) -> torch.Tensor:
    """Share of the network's input that is lung: [N, 1, S, S] → float64 [N] in 0..1."""
    return lung_area(lungs).double().mean(dim=(1, 2, 3))


def heat_in_lungs(heatmap: torch.Tensor, lungs: torch.Tensor) -> torch.Tensor:
    """Share of the heatmap that lies inside the lungs (not widened).

    Args:
        heatmap: float [N, h, w], ≥ 0; stretched bilinearly over the square.
        lungs: float [N, 1, S, S], lung probability.

    Returns:
        float64 [N] in 0..1; NaN where the heatmap is empty. A heatmap spread evenly gives the
        film's `lung_share`.

    Raises:
        ValueError: the shapes are not as above.
    """
    if heatmap.ndim != 3 or lungs.ndim != 4 or lungs.shape[1] != 1:
        raise ValueError(
            f"heatmap must be [N, h, w] and lungs [N, 1, S, S], not {list(heatmap.shape)} and "
            f"{list(lungs.shape)}"
        )
    if len(heatmap) != len(lungs):
        raise ValueError(f"{len(heatmap)} heatmaps for {len(lungs)} lung maps")
    stretched = interpolate(
        heatmap.unsqueeze(1).double(), size=lungs.shape[-2:], mode="bilinear", align_corners=False
    )
    inside = (stretched * lung_area(lungs)).sum(dim=(1, 2, 3))
    # An empty heatmap gives 0 / 0, which is NaN.
    return inside / stretched.sum(dim=(1, 2, 3))


def _checked(film: torch.Tensor, lungs: torch.Tensor) -> torch.Tensor:
    square = film.ndim == 4 and film.shape[1] == 1 and film.shape[2] == film.shape[3]
    if not square or film.shape != lungs.shape:
        raise ValueError(
            f"film and lungs must both be [N, 1, S, S], not {list(film.shape)} and "
            f"{list(lungs.shape)}"
        )
    return lungs


def _widened(lungs: torch.Tensor) -> torch.Tensor:
    """Lungs and the strip around them: bool [N, 1, S, S]."""
    reach = max(1, round(DILATION_SHARE * lungs.shape[-1]))
    side = 2 * reach + 1
    # Down, then across: the same as a square at once, for an eighth of the comparisons.
    area = max_pool2d(lung_area(lungs).float(), (side, 1), stride=1, padding=(reach, 0))
    return max_pool2d(area, (1, side), stride=1, padding=(0, reach)) > 0


def _blanked(film: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Fill what is not kept with the mean of what is: float [N, 1, S, S]."""
    kept = keep.double().sum(dim=(1, 2, 3), keepdim=True)
    total = (film * keep).double().sum(dim=(1, 2, 3), keepdim=True)
    grey = torch.where(kept > 0, total / kept.clamp(min=1), NEUTRAL_GREY)
    return torch.where(keep, film, grey.to(film.dtype))
