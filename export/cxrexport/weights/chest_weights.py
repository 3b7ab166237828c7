"""DenseNet121 weights that were learnt from chest films, as a start for ours.

Two families, told apart by their first convolution:

- One input channel: TorchXRayVision (`densenet121-res224-chex`, `-all`, …). Its nets take films of
  224 px in -1024..1024.
- Three input channels and another classifier than ImageNet's thousand: CheXpert and its like, in
  torchvision's layout, which saw a grey film three times, normalised as ImageNet is.

Either becomes a network of [film, lung probability, zeros] that gives the same features for the
same film: the whole film goes in through the film channel, and the lung and zero channels start at
weight zero, so that the lung map counts as soon as training finds it useful and not before. The
source's scale is folded into the first convolution and the norm behind it.

Sources: torchxrayvision/utils.py (`normalize`) and models.py (`DenseNet`); the CheXpert authors'
chexpert-model/data/base_dataset.py (normalisation) and saver/model_saver.py (`model_state`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from cxrexport.networks.backbones import MEAN, STD

FIRST_CONVOLUTION = "features.conv0.weight"
FIRST_NORM = "features.norm0"
IMAGENET_CLASSES = 1000
NORM_EPS = 1e-5
"""BatchNorm2d's, in all of them."""


@dataclass(frozen=True)
class _Input:
    """What a network was fed with: channel c is gain[c] · x + offset[c] for a film x in 0..1."""

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    mean: float
    """What we subtract from the film for it."""


# Subtracting 0.5 makes our zero theirs, and so also the zeros around the film in a convolution.
_XRAYVISION = _Input(gain=(2048.0,), offset=(-1024.0,), mean=0.5)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Its three channels have three zeros, ours has one: the first's. Where the convolution looks past
# the film's edge the two others are off by 0.13 and 0.35 deviations; inside nothing is.
_CHEXPERT = _Input(
    gain=tuple(1 / std for std in _IMAGENET_STD),
    offset=tuple(-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)),
    mean=_IMAGENET_MEAN[0],
)


def fit_to_our_input(
    weights: Mapping[str, torch.Tensor], classes: int | None
) -> tuple[dict[str, torch.Tensor], str]:
    """Make a DenseNet121's features take [film, lung probability, zeros].

    Args:
        weights: torchvision's names, `features.*` only; not changed.
        classes: outputs of the classifier that they came with; None where there was none.

    Returns:
        The weights with `mean` beside them, as `DenseNet121Backbone` stores it; and a sentence that
        says what was done, for the log.
    """
    channels = weights[FIRST_CONVOLUTION].shape[1] if FIRST_CONVOLUTION in weights else 0
    if channels == 1:
        what = "one input channel (TorchXRayVision, -1024..1024) became the film channel"
        return _through_film_channel(weights, _XRAYVISION), what
    if channels == 3 and classes not in (None, IMAGENET_CLASSES):
        what = "three grey input channels (CheXpert) were summed into the film channel"
        return _through_film_channel(weights, _CHEXPERT), what
    what = "input channels as they are: the first sees the film, the second the lung map"
    return {**weights, "mean": _mean(MEAN[0])}, what


def _through_film_channel(
    weights: Mapping[str, torch.Tensor], source: _Input
) -> dict[str, torch.Tensor]:
    """Σ conv(W_c, gain_c·x + offset_c) rewritten as conv(W, (x - mean)/std) and its norm's shift.

    A batch norm undoes any scale of the convolution before it. We use that to leave the output at
    unit variance in every filter: TorchXRayVision's ±1024 would otherwise leave filters in which
    no step of an optimiser could raise the lung channel to the film's weight.
    """
    kernel = weights[FIRST_CONVOLUTION].double()
    gain = torch.tensor(source.gain, dtype=torch.float64).view(1, -1, 1, 1)
    offset = torch.tensor(source.offset, dtype=torch.float64).view(1, -1, 1, 1)
    shift = (kernel * (gain * source.mean + offset)).sum(dim=(1, 2, 3))
    mean = weights[f"{FIRST_NORM}.running_mean"].double() - shift
    variance = weights[f"{FIRST_NORM}.running_var"].double()
    deviation = (variance + NORM_EPS).sqrt()
    film = (kernel * gain * STD[0]).sum(dim=1) / deviation.view(-1, 1, 1)
    fitted = torch.zeros(len(kernel), len(MEAN), *kernel.shape[2:])
    fitted[:, 0] = film.float()
    return {
        **weights,
        "mean": _mean(source.mean),
        FIRST_CONVOLUTION: fitted,
        f"{FIRST_NORM}.running_mean": (mean / deviation).float(),
        f"{FIRST_NORM}.running_var": torch.full_like(variance, 1 - NORM_EPS).float(),
    }


def _mean(film: float) -> torch.Tensor:
    return torch.tensor((film, *MEAN[1:])).view(1, -1, 1, 1)
