"""Options that every command with an archive takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

if TYPE_CHECKING:
    from cxrclient.archive import Tls

Uri = Annotated[
    str,
    typer.Option(
        help="The archive: a file ending in .db, or http(s)://HOST:PORT of a Milvus server.",
        show_default=False,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="CXR_MILVUS_TOKEN",
        help="USER:PASSWORD or a key, if the Milvus server needs one.",
    ),
]
TlsCa = Annotated[
    Path | None,
    typer.Option(
        envvar="CXR_MILVUS_TLS_CA",
        help="PEM file of the authority that signed the https server's certificate.",
    ),
]
TlsCertificate = Annotated[
    Path | None,
    typer.Option(
        "--tls-cert",
        envvar="CXR_MILVUS_TLS_CERT",
        help="PEM file of this client's certificate, if the server needs one.",
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(envvar="CXR_MILVUS_TLS_KEY", help="PEM file of that certificate's key."),
]
TlsName = Annotated[
    str | None,
    typer.Option(
        envvar="CXR_MILVUS_TLS_NAME",
        help="The name in the server's certificate, if it is not the host's name.",
    ),
]


class Access(TypedDict):
    """What `SimilarityIndex` takes to reach a server."""

    token: str | None
    tls: Tls


def access(
    token: str | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_name: str | None,
) -> Access:
    """The options as `SimilarityIndex(uri, …, **access(…))` takes them."""
    from cxrclient.archive import Tls

    return {"token": token, "tls": Tls(tls_ca, tls_cert, tls_key, tls_name)}
