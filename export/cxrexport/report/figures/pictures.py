"""Figures made of films: contact sheets, lung contours, nearest films.

Films are float or uint8 [rows, columns], dense bright, as the networks see them. No picture carries
a patient's id or a path: films are numbered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cxrexport.report.figures.style import (
    LUNG_COLOUR,
    NEGATIVE,
    POSITIVE,
    drawn,
    new_figure,
)

Picture = npt.NDArray[Any]
_TRUE_COLOUR = "#F0E442"


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of a contact sheet.

    Attributes:
        image: [rows, columns], 0..1 or uint8.
        title: what it is.
        caption: its parameters, below it; lines are kept.
        lungs: lung probability, the image's shape, drawn as a contour; None for none.
    """

    image: Picture
    title: str
    caption: str = ""
    lungs: Picture | None = None


@dataclass(frozen=True, eq=False)
class FilmPicture:
    """A film among its nearest.

    Attributes:
        image: [rows, columns], 0..1 or uint8.
        positive: truth.
        probability: of the positive class by the ensemble; None where it was not scored.
        distance: Euclidean distance of its embedding to the query's; None for the query.
        name: what it is called, for example its line in the manifest.
        source: where it is from; None where that does not matter.
    """

    image: Picture
    positive: bool
    probability: float | None
    distance: float | None = None
    name: str = ""
    source: str | None = None


@drawn
def contact_sheet(panels: Sequence[Panel], title: str, *, columns: int = 5) -> Figure:
    """Draw panels in rows, from the top left."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(2.15 * columns, 2.85 * rows + 0.7)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, panels, strict=False):
        _show(axes, panel.image)
        if panel.lungs is not None:
            _contour(axes, panel.lungs, LUNG_COLOUR, "solid")
        axes.set_title(panel.title, fontsize=9, pad=4)
        axes.set_xlabel(panel.caption, fontsize=8, loc="left")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
    return figure


@drawn
def lung_contours(
    films: Sequence[Picture],
    lungs: Sequence[Picture],
    references: Sequence[Picture | None] = (),
    captions: Sequence[str] = (),
) -> Figure:
    """Films with the contour of their lungs.

    Args:
        films: K of them.
        lungs: lung probability of each, its film's shape.
        references: the lungs as a reader drew them, of each film; None or nothing where there
            are none.
        captions: below each film, for example its Dice.
    """
    columns = min(4, len(films))
    rows = -(-len(films) // columns)
    figure = new_figure(2.6 * columns, 2.95 * rows + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(films) :]:
        axes.set_axis_off()
    has_reference = False
    for place, (axes, film, lung) in enumerate(zip(grid.flat, films, lungs, strict=False)):
        _show(axes, film)
        reference = references[place] if place < len(references) else None
        if reference is not None:
            has_reference = True
            _contour(axes, reference, _TRUE_COLOUR, "dashed")
        _contour(axes, lung, LUNG_COLOUR, "solid")
        axes.set_title(f"film {place + 1}", fontsize=9, pad=4)
        if place < len(captions):
            axes.set_xlabel(captions[place], fontsize=8, loc="left")
    handles = [_line(LUNG_COLOUR, "solid", "U-Net, probability 0.5")]
    if has_reference:
        handles.append(_line(_TRUE_COLOUR, "dashed", "drawn by a reader"))
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=True)
    legend.get_frame().set(facecolor="#333333", edgecolor="none")
    for text in legend.get_texts():
        text.set_color("white")
    figure.suptitle(f"Lungs, n = {len(films)} films", x=0.02, ha="left", fontsize=10, weight="bold")
    return figure


@drawn
def films_to_look_at(
    rows: Sequence[tuple[str, Sequence[FilmPicture]]], labels: tuple[str, str]
) -> Figure:
    """Films in rows, each row with a heading, framed by their truth.

    Args:
        rows: heading and films; the films have names.
        labels: negative and positive class.
    """
    columns = max(len(films) for _, films in rows)
    figure = new_figure(2.3 * columns, 3.05 * len(rows) + 0.5)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for places, (heading, films) in zip(grid, rows, strict=True):
        for axes in places:
            axes.set_axis_off()
        for number, (axes, film) in enumerate(zip(places, films, strict=False)):
            above = f"{heading}\n" if number == 0 else "\n"
            _film(axes, film, labels, f"{above}{film.name}")
    figure.suptitle(
        f"Films to look at (frame: truth; p: probability of {labels[1]})",
        x=0.01, ha="left", fontsize=10, weight="bold",
    )  # fmt: skip
    return figure


@drawn
def nearest_films(
    queries: Sequence[tuple[FilmPicture, Sequence[FilmPicture]]],
    labels: tuple[str, str],
    kinds: Sequence[str] = (),
) -> Figure:
    """A row a query: the test film on the left, then its nearest training films.

    Args:
        queries: each with its neighbours, nearest first.
        labels: negative and positive class.
        kinds: why each query was chosen.
    """
    columns = 1 + max(len(neighbours) for _, neighbours in queries)
    figure = new_figure(2.0 * columns, 2.75 * len(queries) + 0.8)
    grid = figure.subplots(len(queries), columns, squeeze=False)
    for row, (query, neighbours) in enumerate(queries):
        for axes in grid[row]:
            axes.set_axis_off()
        kind = f"\n{kinds[row]}" if row < len(kinds) else ""
        _film(grid[row, 0], query, labels, f"query {row + 1}{kind}")
        for place, neighbour in enumerate(neighbours):
            _film(grid[row, place + 1], neighbour, labels, f"nearest {place + 1}")
    figure.suptitle(
        "Test films and their nearest training films (frame: truth)\n"
        f"p: probability of {labels[1]}; d: Euclidean distance of the embeddings",
        x=0.01, ha="left", fontsize=10, weight="bold",
    )  # fmt: skip
    return figure


def _film(axes: Any, film: FilmPicture, labels: tuple[str, str], title: str) -> None:
    axes.set_axis_on()
    _show(axes, film.image)
    colour = POSITIVE if film.positive else NEGATIVE
    axes.spines[:].set(visible=True, color=colour, linewidth=3)
    axes.set_title(title, fontsize=8.5, fontweight="bold" if film.distance is None else "normal")
    lines = [labels[film.positive]]
    lines.append("p not known" if film.probability is None else f"p = {film.probability:.2f}")
    if film.distance is not None:
        lines[-1] += f"   d = {film.distance:.2f}"
    if film.source is not None:
        lines.append(film.source)
    axes.set_xlabel("\n".join(lines), fontsize=8, color="black", loc="left")


def _show(axes: Any, image: Picture) -> None:
    top = 255 if image.dtype == np.uint8 else 1
    axes.imshow(image, cmap="gray", vmin=0, vmax=top, interpolation="antialiased")
    axes.set(xticks=[], yticks=[], anchor="N")  # films of another shape keep their titles in line
    axes.spines[:].set_visible(False)


def _contour(axes: Any, lungs: Picture, colour: str, dashes: str) -> None:
    values = np.asarray(lungs, dtype=np.float64) / (255 if lungs.dtype == np.uint8 else 1)
    if values.max() > 0.5 >= values.min():
        axes.contour(values, levels=[0.5], colors=colour, linewidths=1.3, linestyles=dashes)


def _line(colour: str, dashes: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=dashes, label=label)
