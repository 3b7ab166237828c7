"""Options of the commands that reach an archive, said once: `@with_access` adds them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from cxrclient.cli.options.added import adding
from cxrclient.cli.terminal import say

if TYPE_CHECKING:
    from cxrclient.archive import Tls

Uri = Annotated[
    str,
    typer.Option(
        help="The archive: a file ending in .db, or http(s)://HOST:PORT of a Milvus server.",
        show_default=False,
    ),
]
Jsonl = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
FilmFilter = Annotated[
    str | None,
    typer.Option(
        "--filter",
        help="""A filter in Milvus's language: 'treatment == "oxygen" and age > 60'.""",
    ),
]
PatientNumber = Annotated[
    str | None,
    typer.Option(
        "--patient",
        metavar="NUMBER",
        help="The patient's number in clear, or - to read it from standard input, where no list "
        "of processes shows it. It is hashed with the archive's key.",
    ),
]
Issuer = Annotated[
    list[str] | None,
    typer.Option(
        help="Also films whose header names this issuer of the patient's number. Repeatable."
    ),
]
_Token = Annotated[
    str | None,
    typer.Option(
        envvar="CXR_MILVUS_TOKEN",
        help="USER:PASSWORD or a key, if the Milvus server needs one.",
    ),
]
_TlsCa = Annotated[
    Path | None,
    typer.Option(
        envvar="CXR_MILVUS_TLS_CA",
        help="PEM file of the authority that signed the https server's certificate.",
    ),
]
_TlsCertificate = Annotated[
    Path | None,
    typer.Option(
        "--tls-cert",
        envvar="CXR_MILVUS_TLS_CERT",
        help="PEM file of this client's certificate, if the server needs one.",
    ),
]
_TlsKey = Annotated[
    Path | None,
    typer.Option(envvar="CXR_MILVUS_TLS_KEY", help="PEM file of that certificate's key."),
]
_TlsName = Annotated[
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


def _access(
    *,
    token: _Token = None,
    tls_ca: _TlsCa = None,
    tls_cert: _TlsCertificate = None,
    tls_key: _TlsKey = None,
    tls_name: _TlsName = None,
) -> Access:
    from cxrclient.archive import Tls, import_lightly
    from cxrclient.settings import ArchiveSettings

    import_lightly()
    known = ArchiveSettings(
        milvus_tls_ca=tls_ca,
        milvus_tls_cert=tls_cert,
        milvus_tls_key=tls_key,
        milvus_tls_name=tls_name,
    )
    tls = Tls(
        known.milvus_tls_ca, known.milvus_tls_cert, known.milvus_tls_key, known.milvus_tls_name
    )
    return {"token": token, "tls": tls}


with_access = adding("access", _access)
"""Give a command the options that reach an archive, in the place of its argument `access`.

The command takes `*, access: Access`, for `SimilarityIndex(uri, …, **access)`.
"""


def patient_number(given: str | None) -> str | None:
    """The number behind `--patient`; - reads a line of standard input.

    Where there is one, this says which films it does not find, for no key tells its issuer.
    """
    if given is not None:
        say(
            "Films count as the patient's if their header names no issuer of the number, or one "
            "that --issuer gives. Whether there are others, the archive cannot tell: ask your PACS "
            "which issuers (Issuer of Patient ID) the number has, and give each with --issuer.",
            fg="yellow",
        )
    return sys.stdin.readline().strip() if given == "-" else given
