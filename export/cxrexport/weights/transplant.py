"""A ResNet34 that computes what a half-width ResNet50 does, as nearly as least squares makes it.

The two have the same stem and the same numbers of blocks, and a basic block of the one has twice
the planes of a bottleneck of the other: half of the bottleneck's outputs. So each block can learn
from the one in its place, with no label and in closed form:

1. Of a stage's outputs those are kept from which the others are best predicted.
2. conv1 predicts, from what arrives, both pre-activations inside the bottleneck.
3. conv2 (with the shortcut's convolution, where there is one) predicts what is then missing to the
   bottleneck's output. As it sees what the ResNet34 has made so far, it also mends errors before
   it.

Ridge regression throughout: the last stage has 4,608 inputs a filter, and 64 places a film.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cxrexport.networks import Backbone, Layout, make_backbone
from cxrexport.weights.published import set_pair
from cxrexport.weights.refit import in_batches

RIDGE = 1e-3
"""Of the inputs' mean variance."""
ENOUGH = 400
"""Places for each input of a filter; where there are more, every second, third, … film is enough.
Not every third place: then the films' edges weigh too much, and a block gives 0.81, not 0.91."""


@dataclass(frozen=True)
class Fitted:
    """How well one block learnt.

    Attributes:
        block: as in the parameters' names, `layer3.1`.
        r2: share of the variance of the kept outputs, over places of the films that it was fitted
            to, that it gives; on other films the last stage gives much less (docs/adr/0022).
    """

    block: str
    r2: float


def transplant(
    teacher: Backbone,
    films: torch.Tensor,
    width: float = 1.0,
    say: Callable[[Fitted], None] = lambda _: None,
) -> tuple[Backbone, list[Fitted]]:
    """Make a ResNet34 of twice a ResNet50's width.

    Args:
        teacher: from `half_resnet50`; it strides first, and its stem is as wide as a ResNet34's.
        films: float [N, 3, S, S], as `Backbone.enter` gives them; some 180.
        width: of the ResNet34.
        say: called after each block.

    Returns:
        The network, whose norms are still to be refitted, and how well each block learnt.
    """
    student = make_backbone(
        "resnet34", width, layout=Layout(pool=teacher.design.layout.pool)
    ).eval()
    first: Any = teacher.conv1
    set_pair(student.conv1, student.bn1, first.weight.data, teacher.bn1.bias.data)  # type: ignore[arg-type, union-attr]
    fitted = []
    with torch.no_grad():
        theirs = torch.cat([teacher.parts[0](batch) for batch in in_batches(films)])
        ours = theirs.clone()
        for number in range(1, len(teacher.parts)):
            kept = _kept(teacher.parts[number], theirs)
            blocks = zip(teacher.parts[number], student.parts[number], strict=True)  # type: ignore[call-overload]
            for i, (bottleneck, block) in enumerate(blocks):
                _learn_inside(bottleneck, block, theirs, ours)
                _learn_outputs(bottleneck, block, theirs, ours, kept)
                theirs = torch.cat([bottleneck(batch) for batch in in_batches(theirs)])
                ours = torch.cat([block(batch) for batch in in_batches(ours)])
                fitted.append(Fitted(f"layer{number}.{i}", _r2(theirs[:, kept], ours)))
                say(fitted[-1])
    return student, fitted


def _kept(stage: nn.Module, arrived: torch.Tensor) -> list[int]:
    """Half of a stage's outputs, over all its blocks: those that predict the others best.

    One after the other, each time the channel that explains most of what is left.
    """
    left = torch.zeros(())
    for block in stage.children():
        arrived = torch.cat([block(batch) for batch in in_batches(arrived)])
        covariance = _covariance(arrived)
        left = left + covariance / covariance.trace()
    kept: list[int] = []
    while len(kept) < len(left) // 2:
        explained = left.square().sum(0) / left.diagonal().clamp_min(1e-12)
        explained[kept] = -1
        best = int(explained.argmax())
        kept.append(best)
        column = left[best] / left[best, best].clamp_min(1e-12).sqrt()
        left = left - torch.outer(column, column)
    return sorted(kept)


def _covariance(maps: torch.Tensor) -> torch.Tensor:
    channels, places = maps.shape[1], maps.shape[0] * maps.shape[2] * maps.shape[3]
    mean = maps.mean((0, 2, 3)).double()
    products = torch.zeros(channels, channels, dtype=torch.float64)
    for batch in in_batches(maps):
        seen = batch.transpose(0, 1).flatten(1)
        products += (seen @ seen.T).double()
    return products / places - torch.outer(mean, mean)


class _LeastSquares:
    """Ridge regression with an intercept that is not penalised, from places seen in batches."""

    def __init__(self) -> None:
        self.inputs: torch.Tensor | None = None
        self.products: torch.Tensor | None = None

    def see(self, inputs: torch.Tensor, wanted: torch.Tensor) -> None:
        """Add places: inputs [P, I] and what they are to give [P, O]."""
        inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], 1)
        squares, products = (inputs.T @ inputs).double(), (inputs.T @ wanted).double()
        self.inputs = squares if self.inputs is None else self.inputs + squares
        self.products = products if self.products is None else self.products + products

    def solve(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights [O, I] and intercepts [O]."""
        assert self.inputs is not None and self.products is not None  # noqa: S101, PT018  # seen
        places = self.inputs[-1, -1]
        mean, wanted = self.inputs[-1, :-1] / places, self.products[-1] / places
        squares = self.inputs[:-1, :-1] / places - torch.outer(mean, mean)
        squares.diagonal().add_(RIDGE * squares.diagonal().mean())
        weights = torch.linalg.solve(
            squares, self.products[:-1] / places - torch.outer(mean, wanted)
        )
        return weights.T, wanted - mean @ weights


def _learn_inside(bottleneck: Any, block: Any, theirs: torch.Tensor, ours: torch.Tensor) -> None:
    """Fit conv1 to the bottleneck's two pre-activations."""
    fit, films = _LeastSquares(), _enough(ours, block.conv1)
    for there, here in zip(in_batches(theirs[films]), in_batches(ours[films]), strict=True):
        first = bottleneck.bn1(bottleneck.conv1(there))
        second = bottleneck.bn2(bottleneck.conv2(first.relu()))
        wanted = torch.cat([first, second], 1)
        fit.see(_patches(here, block.conv1), _places(wanted))
    set_pair(block.conv1, block.bn1, *fit.solve())


def _learn_outputs(
    bottleneck: Any, block: Any, theirs: torch.Tensor, ours: torch.Tensor, kept: list[int]
) -> None:
    """Fit conv2, and the shortcut's convolution with it, to the kept outputs before their ReLU."""
    fit, shortcut, films = _LeastSquares(), block.downsample, _enough(ours, block.conv1)
    for there, here in zip(in_batches(theirs[films]), in_batches(ours[films]), strict=True):
        inside = block.bn1(block.conv1(here)).relu()
        wanted = _before_relu(bottleneck, there)[:, kept]
        inputs = _patches(inside, block.conv2)
        if shortcut is None:
            wanted = wanted - here
        else:
            inputs = torch.cat([inputs, _patches(here, shortcut[0])], 1)
        fit.see(inputs, _places(wanted))
    weights, bias = fit.solve()
    size = block.conv2.weight[0].numel()
    set_pair(block.conv2, block.bn2, weights[:, :size], bias)
    if shortcut is not None:
        convolution, norm = shortcut
        set_pair(convolution, norm, weights[:, size:], torch.zeros_like(bias))


def _before_relu(bottleneck: Any, arrived: torch.Tensor) -> torch.Tensor:
    maps = bottleneck.bn1(bottleneck.conv1(arrived)).relu()
    maps = bottleneck.bn2(bottleneck.conv2(maps)).relu()
    past = arrived if bottleneck.downsample is None else bottleneck.downsample(arrived)
    outputs: torch.Tensor = bottleneck.bn3(bottleneck.conv3(maps)) + past
    return outputs


def _enough(arrived: torch.Tensor, convolution: nn.Conv2d) -> slice:
    """Films that a fit is made from: all, or every second, third, … of them."""
    places = arrived[:, 0].numel() / convolution.stride[0] ** 2
    return slice(None, None, max(1, int(places / (ENOUGH * convolution.weight[0].numel()))))


def _patches(maps: torch.Tensor, convolution: nn.Conv2d) -> torch.Tensor:
    """What a convolution sees at each place: [P, in * k * k]."""
    size, stride = convolution.kernel_size[0], convolution.stride[0]
    seen = nn.functional.unfold(maps, size, padding=size // 2, stride=stride)
    return seen.transpose(1, 2).flatten(0, 1)


def _places(maps: torch.Tensor) -> torch.Tensor:
    """[N, C, h, w] → [P, C], in the order of `_patches`."""
    return maps.flatten(2).transpose(1, 2).flatten(0, 1)


def _r2(wanted: torch.Tensor, given: torch.Tensor) -> float:
    missed = (wanted - given).square().sum()
    spread = (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().sum()
    return float(1 - missed / spread)
