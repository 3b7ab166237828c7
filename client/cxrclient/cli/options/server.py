"""Options of the commands that send films to a server, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Jobs", "RetryFor", "Server", "Summary", "Timeout"]

Server = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The server's gRPC address, or CXR_SERVER.",
        show_default="localhost:8001",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1, help="How many films to have in flight at most, or CXR_JOBS.", show_default="8"
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How long to wait for a film's answer, or CXR_TIMEOUT_S. A film that takes longer is "
        "waited for again while --retry-for lasts.",
        show_default="120",
    ),
]
RetryFor = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How long to retry a film while the server restarts, is busy or takes longer than "
        "--timeout, or CXR_RETRY_FOR_S. Counted from the film's first failure; 0 turns it off.",
        show_default="120",
    ),
]
Summary = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write counts, versions, digests and rates (JSON) here."),
]
