"""Figures as files: the same data give the same bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib import rc_context

from cxrclient.files import private_folder, write_whole
from cxrexport.report.figures.style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 150


@dataclass(frozen=True)
class SavedFigure:
    """Where a figure stands.

    Attributes:
        svg: for print and for editing.
        png: for slides, at `PNG_DPI`.
    """

    svg: Path
    png: Path


def save_figure(figure: Figure, folder: Path, name: str) -> SavedFigure:
    """Write `NAME.svg` and `NAME.png`, for their owner alone: some show films. Makes the folder.

    Raises:
        OSError: the folder cannot be written.
    """
    private_folder(folder)
    saved = SavedFigure(folder / f"{name}.svg", folder / f"{name}.png")
    write_whole(saved.svg, svg_bytes(figure), secret=True, sync=False)
    write_whole(saved.png, png_bytes(figure), secret=True, sync=False)
    return saved


def svg_bytes(figure: Figure) -> bytes:
    """The figure as SVG, without date, its ids salted by a constant."""
    return _rendered(figure, "svg", {"Date": None, "Creator": "cxrexport"})


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG at `PNG_DPI`."""
    return _rendered(figure, "png", {"Software": "cxrexport"})


def _rendered(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    buffer = io.BytesIO()
    with rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # salt and fonts are read while writing
        if figure.get_layout_engine() is not None:
            # Placing the axes takes longer than drawing them; once is enough for both files.
            # A trap: "none" is an engine that places nothing, for which all is drawn again.
            figure.draw_without_rendering()
            figure.set_layout_engine(None)
        figure.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=metadata)
    return buffer.getvalue()
