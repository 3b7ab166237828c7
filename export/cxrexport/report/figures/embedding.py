"""The films as a network sees them: its embeddings in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cxrexport.report.figures.style import NEGATIVE, POSITIVE, drawn, new_figure

Flags = npt.NDArray[np.bool_]

TSNE_FILMS = 8
"""Fewer films give no map."""
_RASTER_FROM = 3000
"""Points from which the SVG holds a picture of them: a browser draws fewer shapes at once."""

_TEST_MARK: dict[str, Any] = {
    "marker": "o",
    "s": 34,
    "edgecolors": "black",
    "linewidths": 0.9,
    "zorder": 3,
}
_TRAINING_MARK: dict[str, Any] = {"marker": "x", "s": 16, "linewidths": 0.9, "alpha": 0.6}


def tsne_coordinates(embedding: npt.ArrayLike, seed: int = 0) -> npt.NDArray[np.float64]:
    """Place films in the plane by t-SNE, exact for a seed.

    Args:
        embedding: [N, D] of one trained network, N of at least `TSNE_FILMS`; those of different
            trials are not comparable.
        seed: of the optimisation; it starts from the first two principal components.

    Returns:
        float64 [N, 2], without unit.

    Raises:
        ValueError: too few films.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    points = np.asarray(embedding, dtype=np.float32)
    if len(points) < TSNE_FILMS:
        raise ValueError(f"t-SNE needs at least {TSNE_FILMS} films, not {len(points)}")
    if not np.ptp(points, axis=0).any():
        return np.zeros((len(points), 2))  # all alike: there is nothing to spread
    # Perplexity 30 is van der Maaten's usual value; it must be below the number of films.
    method = TSNE(perplexity=min(30.0, (len(points) - 1) / 3), init="pca", random_state=seed)
    # One thread: sums in another order give another map, and threads that wait for a busy core
    # make it slower by far.
    with threadpool_limits(limits=1):
        return np.asarray(method.fit_transform(points), dtype=np.float64)


@drawn
def embedding_map(
    coordinates: npt.ArrayLike, truth: Flags, is_test: Flags, labels: tuple[str, str], trial: str
) -> Figure:
    """Draw t-SNE coordinates: colour by truth, marker by side of the split.

    Args:
        coordinates: [N, 2].
        truth: [N].
        is_test: whether the film is a test film, [N]; the others are training films.
        labels: negative and positive class.
        trial: whose network it is, for the title.
    """
    points = np.asarray(coordinates)
    figure = new_figure(5.4, 5.0)
    axes = figure.subplots()
    for test in (False, True):
        for positive in (False, True):
            chosen = (is_test == test) & (truth == positive)
            if not chosen.any():
                continue
            side = "test" if test else "training"
            axes.scatter(
                points[chosen, 0],
                points[chosen, 1],
                c=POSITIVE if positive else NEGATIVE,
                label=f"{labels[positive]}, {side} (n = {int(chosen.sum())})",
                rasterized=len(points) > _RASTER_FROM,
                **(_TEST_MARK if test else _TRAINING_MARK),
            )
    axes.set(xticks=[], yticks=[], xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
    axes.set_title(f"Embeddings of {trial}\nn = {len(points)} films")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
