"""`cxrexport preview`: what the networks see of one film, and how training varies it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrclient.errors import NotReadable
from cxrclient.files import write_whole
from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.errors import CxrExportError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from cxrexport.report.figures import Panel
    from cxrexport.training.recipe import Recipe


def preview(
    image: Annotated[Path, typer.Option(metavar="FILM", help="One film: DICOM, PNG or JPEG.")],
    recipe: Annotated[
        str | None,
        typer.Option(help="A name of `cxrexport recipe list`, or a YAML file; starter by default."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="A run: use its recipe, and its lung network to draw the lungs."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The sheet: .png or .svg.")] = Path(
        "preview.png"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the combined augmentations.")] = 0,
) -> None:
    """Draw a contact sheet of one film: as it is, preprocessed, and under each augmentation.

    First each of the study's nine augmentations alone, at the end of its range. Then all of them
    together, drawn at random, as a network sees them. The study lists the flip twice (7 and 9);
    here it is one operation, left to right and never vertical. The sheet shows the film, so it may
    identify a patient.
    """
    if output.suffix.lower() not in (".png", ".svg"):
        raise typer.BadParameter("the sheet is a .png or a .svg; name it so", param_hint="--output")
    if run is not None and recipe is not None:
        raise typer.BadParameter("a run has its own recipe; leave --recipe out", param_hint="--run")
    with errors_as_exit_codes():
        from cxrexport.light_start import import_monai, without_collection

        with without_collection():
            import_monai()
            from cxrexport.report.figures import contact_sheet, png_bytes, svg_bytes

            settings, panels = _panels(image, recipe, run, seed)
        title = f"One film, recipe {settings.name}, {settings.spec.size_px} px, seed {seed}"
        sheet = contact_sheet(panels, f"{title}\n{settings.notice}")
        written = svg_bytes(sheet) if output.suffix.lower() == ".svg" else png_bytes(sheet)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            write_whole(output, written, secret=True)
        except OSError as error:
            raise CxrExportError(
                f"{output} cannot be written ({error.strerror or error}); choose another --output"
            ) from error
        typer.echo(output)


def _panels(
    image: Path, recipe: str | None, run: Path | None, seed: int
) -> tuple[Recipe, list[Panel]]:
    import numpy as np

    from cxrclient.files import read_regular
    from cxrclient.films import MAX_FILE_BYTES
    from cxrexport.preprocessing import decode_film, preprocess_film
    from cxrexport.report.figures import Panel
    from cxrexport.report.figures.augmented import augmented_panels
    from cxrexport.training.recipe import load_recipe
    from cxrexport.training.run import Run

    opened = None if run is None else Run.open(run)
    settings = load_recipe(recipe or "starter") if opened is None else opened.recipe
    try:
        encoded = read_regular(image, MAX_FILE_BYTES)
    except OSError as error:
        raise NotReadable(f"{image}: cannot be read ({error.strerror or error})") from error
    decoded = decode_film(encoded)
    film = preprocess_film(decoded, settings.spec).image
    rows, columns = decoded.pixels.shape
    brightest = max(int(decoded.pixels.max()), 1)
    levels = np.rint(film * np.float32(255)).astype(np.uint8)
    lungs = (
        None if opened is None or not settings.needs_lungs else _lungs(opened.load("segment"), film)
    )
    unit_lungs = None if lungs is None else lungs[0].astype(np.float32) / np.float32(255)
    return settings, [
        Panel(
            decoded.pixels.astype(np.float32) / np.float32(brightest),
            "film",
            f"{columns} \N{MULTIPLICATION SIGN} {rows} pixels",
        ),
        Panel(film[0], "preprocessed", f"{settings.spec.size_px} px", unit_lungs),
        *augmented_panels(
            levels, lungs, settings.augmentation, clahe_tiles=settings.spec.clahe_tiles, seed=seed
        ),
    ]


def _lungs(network: Callable[[torch.Tensor], torch.Tensor], film: NDArray[Any]) -> NDArray[Any]:
    import numpy as np
    import torch

    with torch.inference_mode():
        probability = network(torch.from_numpy(film).unsqueeze(0))[0].float().numpy()
    levels: NDArray[Any] = np.rint(probability * np.float32(255)).astype(np.uint8)
    return levels
