"""Options of the commands that send films to a server, said once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cxrclient.settings import ClientSettings
    from cxrclient.wire import CxrClient

Films = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES|FOLDERS|GLOBS...",
        help="Films (DICOM, PNG, JPEG), folders with everything below them, or quoted globs.",
        show_default=False,
    ),
]

Server = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The server's gRPC address, or CXR_SERVER.",
        show_default="localhost:8001",
    ),
]
ModelRepository = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|NAME",
        help="The model repository: a folder, or the name of one that comes with this package.",
        show_default="starter",
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


def open_client(settings: ClientSettings, *, gate: bool) -> CxrClient:
    """Make the client of a run: it bears with a server for as long as the settings say."""
    from cxrclient.wire import CxrClient

    return CxrClient(
        settings.server,
        jobs=settings.jobs,
        timeout_s=settings.timeout_s,
        retry_for_s=settings.retry_for_s,
        gate=gate,
    )
