"""The report: one HTML file that holds all of a study, to be read from top to bottom.

No script, no font, no picture from elsewhere: it opens on a computer without a network, prints, and
is readable on a phone. Films are numbered; no patient's id and no path is in it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from cxrclient.files import private_folder, write_whole
from cxrexport.errors import CxrExportError

if TYPE_CHECKING:
    from cxrexport.evaluation.audit_tables import Audit
    from cxrexport.evaluation.calibration import CalibrationStudy
    from cxrexport.evaluation.collection import Collection
    from cxrexport.evaluation.comparison import Comparison
    from cxrexport.evaluation.figures.plates import Plate
    from cxrexport.evaluation.lungs import LungFigures
    from cxrexport.evaluation.retrieval import Retrieval
    from cxrexport.evaluation.subgroups import Subgroups
    from cxrexport.evaluation.verdict import Verdict

__all__ = ["NOTICE", "Study", "write_report"]

NOTICE = (
    "Research use only. Not a medical device, not for clinical use. No figure in this report says "
    "how well the networks would do on other films than these."
)

FILMS_NOTICE = (
    "This report shows films. They carry no name of ours, but a film may identify its patient, and "
    "names may be burned into it: look at every picture before you pass the report on."
)


@dataclass(frozen=True)
class Study:
    """All results of a study or of one evaluated run; plain numbers, strings and tuples.

    Attributes:
        title: of the report.
        labels: negative and positive class.
        folds: whether the trials are folds of a cross-validation, so that each film was tested
            once; else they are random splits, or one single trial.
        collection: the films.
        comparison: Table 2.
        facts: what was used (recipe, digests, versions, command), by name, in this order.
        notice: a sentence of the networks themselves, from their recipe; None if none.
        audit: the shortcut audit; None with a reason in `absent["audit"]`, as every part below.
        verdict: the audit in words.
        retrieval: nearest films.
        subgroups: by sex, age, view, source, finding and difficulty.
        calibration: reliability and operating points.
        lungs: Dice and Hausdorff distance of the lung network.
        before: the comparison of the networks that these were fine-tuned from, on the same films;
            None where nothing was fine-tuned.
        failures: what failed or was not trained → why.
        absent: name of a part that is None → why.
    """

    title: str
    labels: tuple[str, str]
    folds: bool
    collection: Collection
    comparison: Comparison
    facts: Mapping[str, str] = field(default_factory=dict)
    notice: str | None = None
    audit: Audit | None = None
    verdict: Verdict | None = None
    retrieval: Retrieval | None = None
    subgroups: Subgroups | None = None
    calibration: CalibrationStudy | None = None
    lungs: LungFigures | None = None
    before: Comparison | None = None
    failures: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


def write_report(output_dir: Path, results: Study, figures: Sequence[Plate]) -> Path:
    """Write `figures/NAME.svg` and `.png`, and the one self-contained `report.html`.

    Args:
        output_dir: made where it is missing.
        results: what to report.
        figures: from `figures.draw_study`; those that are absent say why.

    Returns:
        The path of report.html.

    Raises:
        CxrExportError: the folder cannot be written.
    """
    from cxrexport.evaluation.figures.write import save_figure

    try:
        pictures = {}
        for plate in figures:
            if plate.figure is not None:
                saved = save_figure(plate.figure, output_dir / "figures", plate.name)
                pictures[plate.name] = _data_uri(saved.png if plate.films else saved.svg)
        path = output_dir / "report.html"
        private_folder(path.parent)
        write_whole(path, report_html(results, figures, pictures), secret=True)  # it shows films
    except OSError as error:
        raise CxrExportError(
            f"{output_dir} cannot be written ({error.strerror or error}); choose another --output"
        ) from error
    return path


def report_html(results: Study, figures: Sequence[Plate], pictures: Mapping[str, str]) -> str:
    """The page as text.

    Args:
        results: what to report.
        figures: in the order of each chapter.
        pictures: name of a figure → `data:` URI.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from cxrexport.evaluation.chapters import chapters_of

    # Labels and sources come from a manifest: everything is escaped.
    environment = Environment(
        loader=PackageLoader("cxrexport.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = files("cxrexport.evaluation").joinpath("templates/report.css")
    return environment.get_template("report.html.j2").render(
        title=results.title,
        notice=NOTICE,
        networks_notice=results.notice,
        shows_films=any(plate.films and plate.figure is not None for plate in figures),
        films_notice=FILMS_NOTICE,
        style=style.read_text(encoding="utf-8"),
        chapters=chapters_of(results, figures),
        pictures=pictures,
    )


def _data_uri(path: Path) -> str:
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[path.suffix]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
