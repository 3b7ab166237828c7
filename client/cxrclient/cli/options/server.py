"""Options of the commands that send films to a server, said once; `@with_secured`: those of TLS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from cxrclient.cli.options.added import adding

if TYPE_CHECKING:
    from cxrclient.settings import ClientSettings
    from cxrclient.wire import CxrClient

Server = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The server's gRPC address (grpcs://HOST:PORT: over TLS), or CXR_SERVER.",
        show_default="localhost:8001",
    ),
]
_TlsCa = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="PEM file of the authority that signed the server's certificate, or "
        "CXR_SERVER_TLS_CA. Asks for TLS, as grpcs:// does.",
    ),
]
_TlsCertificate = Annotated[
    str | None,
    typer.Option(
        "--server-tls-cert",
        metavar="FILE",
        help="PEM file of your certificate, if the server needs one (mutual TLS), or "
        "CXR_SERVER_TLS_CERT.",
    ),
]
_TlsKey = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="PEM file of that certificate's key, or CXR_SERVER_TLS_KEY."),
]
_TlsName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The name in the server's certificate, if it is not the host's name, or "
        "CXR_SERVER_TLS_NAME.",
    ),
]
_TokenFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="File with the token that the server asks for, or CXR_SERVER_TOKEN_FILE.",
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


class Secured(TypedDict):
    """What `client_settings` takes of a server over TLS, or that asks for a token."""

    server_tls_ca: str | None
    server_tls_cert: str | None
    server_tls_key: str | None
    server_tls_name: str | None
    server_token_file: str | None


def _secured(
    *,
    server_tls_ca: _TlsCa = None,
    server_tls_cert: _TlsCertificate = None,
    server_tls_key: _TlsKey = None,
    server_tls_name: _TlsName = None,
    server_token_file: _TokenFile = None,
) -> Secured:
    return {
        "server_tls_ca": server_tls_ca,
        "server_tls_cert": server_tls_cert,
        "server_tls_key": server_tls_key,
        "server_tls_name": server_tls_name,
        "server_token_file": server_token_file,
    }


with_secured = adding("secured", _secured)
"""Give a command the options of TLS and token, in the place of its argument `secured`.

The command takes `*, secured: Secured`, for `client_settings(server, …, **secured)`.
"""


def open_client(
    settings: ClientSettings, *, gate: bool, retry: bool = True, keep_files: bool = False
) -> CxrClient:
    """Make the client of a command.

    Args:
        settings: where the server is, and for how long to wait for it.
        gate: as `CxrClient` has it.
        retry: False for a person who asks for one film and wants to know at once.
        keep_files: as `CxrClient` has it.
    """
    from cxrclient.wire import CxrClient, Endpoint

    return CxrClient(
        Endpoint.of_settings(settings),
        jobs=settings.jobs,
        timeout_s=settings.timeout_s,
        retry_for_s=settings.retry_for_s if retry else 0,
        gate=gate,
        keep_files=keep_files,
    )
