"""`cxrclient pull`: films of a date range out of a PACS, into files."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes
from cxrclient.cli.signals import sigterm_as_interrupt
from cxrclient.cli.terminal import say

if TYPE_CHECKING:
    from cxrclient.node import Pull, Wanted


def pull(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A film becomes STUDY-UID/SOP-UID.dcm here.", show_default=False
        ),
    ],
    *,
    pacs: Annotated[
        str,
        typer.Option(
            metavar="AET@HOST:PORT|URL",
            help="The PACS: AE title, host and port (C-FIND, C-MOVE), or the URL of its DICOMweb: "
            "https://[USER:PASSWORD@]HOST/dicom-web (QIDO-RS, WADO-RS).",
            show_default=False,
        ),
    ],
    first: Annotated[
        datetime,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First study date.", show_default=False),
    ],
    last: Annotated[
        datetime,
        typer.Option(
            "--to", formats=["%Y-%m-%d"], help="Last study date, included.", show_default=False
        ),
    ],
    modality: Annotated[
        list[str] | None,
        typer.Option(help="Only films of this modality. Repeatable.", show_default="CR and DX"),
    ] = None,
    aet: Annotated[
        str,
        typer.Option(help="Our AE title, by which the PACS knows us, as a destination too."),
    ] = "CXR",
    host: Annotated[
        str, typer.Option(help="Address to listen on for what C-MOVE sends.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on for it.")] = 11112,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PEM file of the authority of the PACS's certificate, when it sends to us.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PEM file of our certificate, to listen with TLS."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of that certificate's key.")
    ] = None,
    peer_tls_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PEM file of the authority that signed the PACS's certificate; else the system's "
            "authorities are trusted.",
        ),
    ] = None,
    peer_tls_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PEM file of our certificate, if the PACS needs one."),
    ] = None,
    peer_tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of that certificate's key.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long the PACS may say nothing before it counts as away, or CXR_TIMEOUT_S.",
            show_default="120",
        ),
    ] = None,
    retry_for: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long to ask again while the PACS is away or busy, or CXR_RETRY_FOR_S. "
            "Counted from the first failure; 0 turns it off.",
            show_default="120",
        ),
    ] = None,
) -> None:
    """Take the films of a date range out of a PACS, and print the path of each as it is there.

    Films whose file is there already are not asked for again, but their paths are printed too: to
    continue a pull that was interrupted or killed, run the same command again. The PACS is asked
    day by day, study by study.

    With AET@HOST:PORT, the PACS sends the films to us: it must know --aet as a destination, with
    this machine's address and --port.

    cxrclient pull … DIR | cxrclient predict --files-from - …

    Exit code 0: every film is there. 3: the PACS does not give some films; each says why. 5: the
    PACS does not answer, or refuses us. 2: wrong usage. 1: anything else.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        from cxrclient.node import RADIOGRAPHS, Pull, TlsFiles, Wanted, open_pacs
        from cxrclient.settings import client_settings

        modalities = frozenset(each.upper() for each in modality or RADIOGRAPHS)
        wanted = Wanted(first.date(), last.date(), modalities)
        settings = client_settings(timeout_s=timeout, retry_for_s=retry_for)
        opened = open_pacs(
            pacs,
            aet=aet,
            host=host,
            port=port,
            tls=TlsFiles(tls_ca, tls_cert, tls_key),
            peer_tls=TlsFiles(peer_tls_ca, peer_tls_cert, peer_tls_key),
            timeout_s=settings.timeout_s,
        )
        with closing(opened):
            raise typer.Exit(_pulled(Pull(opened, folder, settings.retry_for_s), wanted))


def _pulled(films: Pull, wanted: Wanted) -> Exit:
    from cxrclient.cli.output.failures import Failures
    from cxrclient.errors import FilmError

    counts: Counter[str] = Counter()
    failures = Failures()
    try:
        for film in films.films(wanted):
            if isinstance(film, FilmError):
                counts["failed"] += 1
                failures.say(film)
            else:
                counts["there" if film.there else "pulled"] += 1
                _print_path(film.path)
    finally:
        failures.say_the_rest()
        say(
            f"{wanted.first} to {wanted.last}: {counts['pulled']} films pulled, "
            f"{counts['there']} were there already, {counts['failed']} failed."
        )
    return Exit.SOME_FILMS if counts["failed"] else Exit.OK


def _print_path(path: Path) -> None:
    """Print it at once, byte for byte, for the command behind the pipe."""
    stdout = typer.get_binary_stream("stdout")
    stdout.write(bytes(path) + b"\n")
    stdout.flush()
