"""The report: one HTML file that holds all of an evaluation, to be read from top to bottom.

No script, no font, no picture from elsewhere: it opens on a computer without a network, prints, and
is readable on a phone. Films are numbered; no patient's id and no path is in it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from cxrclient.files import private_folder, write_whole
from cxrexport.errors import CxrExportError
from cxrexport.evaluation.assess import NOTICE

if TYPE_CHECKING:
    from cxrexport.evaluation.assess import Assessment
    from cxrexport.report.chapters.blocks import Chapter
    from cxrexport.report.plates import Plate

FILMS_NOTICE = (
    "This report shows films. They carry no name of ours, but a film may identify its patient, and "
    "names may be burned into it: look at every picture before you pass the report on."
)


def write_report(output_dir: Path, results: Assessment, figures: Sequence[Plate]) -> Path:
    """Write the one self-contained `report.html`, and beside it what a paper needs.

    `figures/NAME.svg` and `.png`, `tables/NN-TITLE.csv` and `.tex`, and `checklists.html`.

    Args:
        output_dir: made where it is missing.
        results: what to report.
        figures: from `plates.draw_plates`; those that are absent say why.

    Returns:
        The path of report.html.

    Raises:
        CxrExportError: the folder cannot be written.
    """
    from cxrexport.report.chapters import chapters_of
    from cxrexport.report.checklists import checklists
    from cxrexport.report.figures.write import save_figure
    from cxrexport.report.tables import write_tables

    try:
        pictures = {}
        for plate in figures:
            if plate.figure is not None:
                saved = save_figure(plate.figure, output_dir / "figures", plate.name)
                pictures[plate.name] = _data_uri(saved.png if plate.films else saved.svg)
        path = output_dir / "report.html"
        private_folder(path.parent)
        chapters = chapters_of(results, figures)
        write_whole(path, page_html(results, chapters, figures, pictures), secret=True)
        lists = checklists(results)
        write_whole(
            output_dir / "checklists.html",
            page_html(results, lists, title=f"Reporting checklists: {results.title}"),
            secret=True,
        )
        write_tables(output_dir, (*chapters, *lists))
    except OSError as error:
        raise CxrExportError(
            f"{output_dir} cannot be written ({error.strerror or error}); choose another --output"
        ) from error
    return path


def page_html(
    results: Assessment,
    chapters: Sequence[Chapter],
    figures: Sequence[Plate] = (),
    pictures: Mapping[str, str] | None = None,
    *,
    title: str | None = None,
) -> str:
    """A page as text.

    Args:
        results: what to report.
        chapters: of the page.
        figures: of all chapters.
        pictures: name of a figure → `data:` URI.
        title: of the page; the report's where None.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Labels and sources come from a manifest: everything is escaped.
    environment = Environment(
        loader=PackageLoader("cxrexport.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = files("cxrexport.report").joinpath("templates/report.css")
    return environment.get_template("report.html.j2").render(
        title=title or results.title,
        notice=NOTICE,
        networks_notice=results.notice,
        shows_films=any(plate.films and plate.figure is not None for plate in figures),
        films_notice=FILMS_NOTICE,
        style=style.read_text(encoding="utf-8"),
        chapters=chapters,
        pictures=pictures or {},
    )


def _data_uri(path: Path) -> str:
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[path.suffix]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
