"""One look for all figures: colours that everybody can tell apart, and the same for the same thing.

matplotlib's object interface alone: no pyplot, so no window system, no global list of figures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

from matplotlib import rc_context
from matplotlib.figure import Figure

NEGATIVE = "#0072B2"
POSITIVE = "#D55E00"
"""Of the two classes, in every figure. Source of all colours: Okabe and Ito, Color Universal
Design, 2008."""
GREY = "#6b6b6b"
ENSEMBLE_COLOUR = "#000000"
LUNG_COLOUR = "#40E0D0"
"""Of lung contours; the same as in the client's overlays."""

# Dashes tell the networks apart in black and white, too.
_NETWORKS: dict[str, tuple[str, Any]] = {
    "resnet34": ("#56B4E9", "-"),
    "resnet50": ("#009E73", (0, (6, 2))),
    "resnet50-plain": ("#6b6b6b", (0, (1, 1.5))),
    "resnet152": ("#CC79A7", (0, (4, 1.5, 1, 1.5))),
    "vgg16": ("#E69F00", (0, (2, 1))),
    "densenet121": ("#7B5A12", (0, (8, 2, 1, 2, 1, 2))),
}

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib brings it, so every machine draws the same
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 100,
    "svg.fonttype": "path",
    "svg.hashsalt": "cxr-triton",
    "path.simplify": True,
    "text.usetex": False,
    "text.parse_math": False,  # a label such as $x$ is a label
    "axes.unicode_minus": True,
}

P = ParamSpec("P")


def drawn(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a figure's function under the common style, whatever the process has set."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        import matplotlib

        with rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            return draw(*args, **kwargs)

    return styled


def new_figure(width_in: float, height_in: float) -> Figure:
    """Make an empty figure that places its axes so that nothing overlaps."""
    return Figure(figsize=(width_in, height_in), layout="constrained")


def network_line(network: str) -> dict[str, Any]:
    """Colour, dashes and width of a network's curve; the ensemble's is thick and black."""
    if network == "ensemble":
        return {"color": ENSEMBLE_COLOUR, "linestyle": "-", "linewidth": 2.6, "zorder": 5}
    colour, dashes = _NETWORKS.get(network, (GREY, "-"))
    return {"color": colour, "linestyle": dashes, "linewidth": 1.3, "zorder": 3}


def legend_below(figure: Figure, axes: Any, title: str | None = None, columns: int = 2) -> None:
    """Draw the legend of the axes below them, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=title)


def whole_numbers(axis: Any) -> None:
    """Mark whole numbers only: films and days have no halves."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
