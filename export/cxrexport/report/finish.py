"""The last step of `evaluate` and `study`: metrics.json, scores.csv, the report and its files."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from cxrclient.cli import cell
from cxrclient.files import private_folder, write_whole
from cxrexport.errors import CxrExportError
from cxrexport.evaluation.assess import Assessment, assess, metrics_json
from cxrexport.evaluation.material import Material
from cxrexport.evaluation.measures import BOOTSTRAP
from cxrexport.report.page import write_report
from cxrexport.report.plates import draw_plates
from cxrexport.report.tables import SCORES, scores_csv


def finish(
    material: Material,
    output: Path,
    console: Console,
    *,
    threshold: float = 0.5,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> Assessment:
    """Analyse, draw and write; then say the verdict and where the report is.

    Args:
        material: what is evaluated.
        output: the folder.
        console: for progress and for the verdict.
        threshold: above which a film is called positive.
        bootstrap: resamples behind each interval.
        seed: of everything that is drawn.

    Raises:
        CxrExportError: the folder cannot be written, or a film cannot be read any more.
    """
    with console.status("Analysing") as status:
        results = assess(
            material,
            threshold=threshold,
            bootstrap=bootstrap,
            seed=seed,
            step=lambda what: status.update(f"Analysing: {what}"),
        )
        _write(output / "metrics.json", metrics_json(results))
        scores = scores_csv(material.evidence, threshold)
        _write(output / SCORES, scores, secret=True)  # it names films
        status.update("Drawing")
        plates = draw_plates(material, results, seed=seed)
        report = write_report(output, results, plates)
    if results.verdict is not None:
        console.print(cell(results.verdict.code, "bold") + cell(f": {results.verdict.sentence}"))
    console.print(
        f"{report}; beside it metrics.json, {SCORES}, checklists.html, tables and figures. "
        "Research use only."
    )
    return results


def _write(path: Path, text: str, *, secret: bool = False) -> None:
    try:
        private_folder(path.parent)
        write_whole(path, text, secret=secret)
    except OSError as error:
        raise CxrExportError(
            f"{path} cannot be written ({error.strerror or error}); choose another --output"
        ) from error
