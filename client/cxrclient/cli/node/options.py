"""Options of `cxrclient node run` and `check`, said once: `@with_asked` adds them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrclient.cli.options.added import adding
from cxrclient.cli.options.server import Secured, Server
from cxrclient.errors import UsageError

if TYPE_CHECKING:
    from cxrclient.node import NodeOptions

SpoolFolder = Annotated[
    Path,
    typer.Option(
        "--spool",
        metavar="DIR",
        help="Folder of films, results and what is to be done; made where it is missing. It holds "
        "patients' films.",
        show_default=False,
    ),
]
_Aet = Annotated[
    str, typer.Option(help="Our AE title: callers use it, and so do we when we call a peer.")
]
_Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Address to listen on; 0.0.0.0 lets other machines in, and then needs --allow.",
    ),
]
_Port = Annotated[int, typer.Option(min=1, max=65535, help="For DICOM.")]
_HttpPort = Annotated[
    int, typer.Option(min=1, max=65535, help="For STOW-RS, health, metrics and results.")
]
_Peers = Annotated[
    list[str],
    typer.Option(
        "--peer",
        metavar="AET@HOST:PORT|https://HOST/dicom-web",
        help="Where results go: a PACS, by C-STORE or by STOW-RS. Repeatable.",
        show_default=False,
    ),
]
_Allow = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AET",
        help="A caller's AE title that is let in. Repeatable. None: anybody, on this machine.",
        show_default=False,
    ),
]
_TlsCa = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="For both listeners: only callers with a certificate of this authority get in.",
    ),
]
_TlsCertificate = Annotated[
    Path | None,
    typer.Option("--tls-cert", metavar="FILE", help="Their certificate (PEM): both speak TLS."),
]
_TlsKey = Annotated[Path | None, typer.Option(metavar="FILE", help="That certificate's key.")]
_PeerTlsCa = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Authority of the peers' certificates; else the system's are trusted. With any of "
        "these three files, peers by C-STORE are called over TLS.",
    ),
]
_PeerTlsCertificate = Annotated[
    Path | None,
    typer.Option("--peer-tls-cert", metavar="FILE", help="Our certificate for the peers."),
]
_PeerTlsKey = Annotated[Path | None, typer.Option(metavar="FILE", help="That certificate's key.")]
_ResultsToken = Annotated[
    Path | None,
    typer.Option(
        "--results-token-file",
        metavar="FILE",
        help="File with the token that GET /results asks for, and STOW-RS from other machines.",
    ),
]
_ArchiveUri = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="Also put each film into this archive: FILE.db or http(s)://HOST:PORT. CXR_MILVUS_* "
        "have its token and TLS.",
    ),
]
_Reference = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.jsonl",
        help="Results of `predict --embeddings` over the training films: drift is measured to "
        "them.",
    ),
]
_Workers = Annotated[int, typer.Option(min=1, help="Processes that analyse films.")]
_Gsps = Annotated[
    bool, typer.Option("--gsps", help="Also make the lungs' outline, as a presentation state.")
]
_MinFree = Annotated[
    int,
    typer.Option(
        metavar="MB", min=0, help="With less room than this on the spool's disk, take no film."
    ),
]
_Queue = Annotated[
    int, typer.Option(metavar="FILMS", min=1, help="While so many films wait, take no other.")
]
_KeepDays = Annotated[
    float,
    typer.Option(
        metavar="DAYS", min=0, help="How long the files of a film stay after its delivery."
    ),
]
_Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How long to wait for a film's answer, or CXR_TIMEOUT_S; then it is sent again.",
        show_default="120",
    ),
]

EXTRA = "pacs"
_MEGABYTE = 1_000_000
_LONGEST_AET = 16


def _asked(
    *,
    spool: SpoolFolder,
    peer: _Peers,
    server: Server = None,
    aet: _Aet = "CXR",
    host: _Host = "127.0.0.1",
    port: _Port = 11112,
    http_port: _HttpPort = 8042,
    allow: _Allow = None,
    tls_ca: _TlsCa = None,
    tls_cert: _TlsCertificate = None,
    tls_key: _TlsKey = None,
    peer_tls_ca: _PeerTlsCa = None,
    peer_tls_cert: _PeerTlsCertificate = None,
    peer_tls_key: _PeerTlsKey = None,
    results_token_file: _ResultsToken = None,
    archive_uri: _ArchiveUri = None,
    reference: _Reference = None,
    workers: _Workers = 2,
    gsps: _Gsps = False,
    min_free: _MinFree = 500,
    queue: _Queue = 10_000,
    keep_days: _KeepDays = 7.0,
    timeout: _Timeout = None,
) -> dict[str, Any]:
    return dict(locals())


with_asked = adding("asked", _asked)
"""Give a command the options of a node, in the place of its argument `asked`.

The command takes `*, asked: dict[str, Any]`, for `node_options(asked)`.
"""


def node_options(asked: dict[str, Any], secured: Secured) -> NodeOptions:
    """Make what a node is told of the options; what cannot be right is refused before it begins.

    Args:
        asked: of `with_asked`.
        secured: of `with_secured`.

    Raises:
        UsageError: the extra `pacs` is not installed, or an option cannot be right; says which.
    """
    require_extra()
    from cxrclient.node import NodeOptions, TlsFiles
    from cxrclient.settings import client_settings
    from cxrclient.wire import Endpoint

    settings = client_settings(asked["server"], timeout_s=asked["timeout"], **secured)
    options = NodeOptions(
        spool=asked["spool"],
        peers=tuple(asked["peer"]),
        server=settings.server,
        secured={name: str(value) for name, value in secured.items() if value},
        tls=TlsFiles(asked["tls_ca"], asked["tls_cert"], asked["tls_key"]),
        peer_tls=TlsFiles(asked["peer_tls_ca"], asked["peer_tls_cert"], asked["peer_tls_key"]),
        allow=tuple(asked["allow"] or ()),
        min_free_bytes=asked["min_free"] * _MEGABYTE,
        timeout_s=settings.timeout_s,
        **{
            name: asked[name]
            for name in (
                *("aet", "host", "port", "http_port", "results_token_file", "archive_uri"),
                *("reference", "workers", "gsps", "queue", "keep_days"),
            )
        },
    )
    _refuse_what_cannot_be(options)
    Endpoint.of_settings(settings)
    return options


def require_extra() -> None:
    """Raise UsageError where what the node is made of is not installed."""
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("highdicom", "pynetdicom", "aiohttp")):
        raise UsageError(f"`cxrclient node` needs `pip install 'cxr-triton[{EXTRA}]'`.")


def _refuse_what_cannot_be(options: NodeOptions) -> None:
    from cxrclient.node import client_context, server_context
    from cxrclient.wire import is_loopback, read_token

    for title in (options.aet, *options.allow):
        if not _is_aet(title):
            raise UsageError(f"{title!r} is no AE title: 1 to 16 letters of ASCII without \\.")
    if options.port == options.http_port:
        raise UsageError("--port and --http-port are the same. Give two ports.")
    if not is_loopback(f"{options.host}:{options.port}"):
        if not options.allow:
            raise UsageError(
                f"--host {options.host} lets other machines in. Name those that may send films: "
                "--allow AET, once for each."
            )
        if options.results_token_file is None and options.tls.ca is None:
            raise UsageError(
                f"--host {options.host} lets other machines send films over HTTP. Give a token, "
                "--results-token-file, or ask for certificates, --tls-ca."
            )
    if not options.peers:
        raise UsageError("Say where results go: --peer AET@HOST:PORT or https://HOST/dicom-web.")
    server_context(options.tls)
    if options.peer_tls:
        client_context(options.peer_tls)
    if options.results_token_file is not None:
        read_token(options.results_token_file)
    if options.reference is not None and not options.reference.is_file():
        raise UsageError(f"{options.reference} is no file. Give --reference results of `predict`.")


def _is_aet(title: str) -> bool:
    """Whether it can be an AE title. Source: DICOM PS3.5, 6.2, value representation AE."""
    letters = title.isascii() and title.isprintable() and "\\" not in title
    return letters and bool(title.strip()) and len(title) <= _LONGEST_AET
