"""The model repository that a command works on."""

from __future__ import annotations

from typing import Annotated

import typer

Repository = Annotated[
    str,
    typer.Option(
        metavar="DIR|NAME",
        help="The model repository: a folder, or the name of one that comes with cxr-triton.",
    ),
]
"""`cxrclient.serving.find_repository` says where it lies."""
