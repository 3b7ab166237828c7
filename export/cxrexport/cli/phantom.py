"""`cxrexport phantom`: drawn films with known lungs and known opacities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.errors import CxrExportError


def phantom(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to.")
    ],
    count: Annotated[int, typer.Option(min=1, help="Films; half of them with opacities.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    size_px: Annotated[
        int, typer.Option("--size-px", min=128, max=4096, help="The longer side of each film.")
    ] = 1024,
) -> None:
    """Draw frontal chest films (DICOM) with their lung masks (PNG) and a manifest.

    Prints the path of the manifest. Nothing in these films comes from a patient.
    """
    from cxrexport.phantom import write_phantoms

    with errors_as_exit_codes():
        try:
            manifest = write_phantoms(count, output, seed, size_px=size_px)
        except OSError as error:
            raise CxrExportError(
                f"{output} cannot be written ({error.strerror or error}); choose another --output"
            ) from error
        typer.echo(manifest)
