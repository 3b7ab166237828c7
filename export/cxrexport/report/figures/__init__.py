"""The study's figures: data in, a matplotlib figure out; `save_figure` writes SVG and PNG."""

from __future__ import annotations

from cxrexport.report.figures.bootstrap import bootstrap_histograms
from cxrexport.report.figures.classification import (
    confusion_matrix,
    precision_recall_curves,
    roc_curves,
    score_histogram,
)
from cxrexport.report.figures.days import score_against_days
from cxrexport.report.figures.embedding import embedding_map, tsne_coordinates
from cxrexport.report.figures.estimates import Estimate, estimates
from cxrexport.report.figures.pictures import (
    FilmPicture,
    Panel,
    contact_sheet,
    lung_contours,
    nearest_films,
)
from cxrexport.report.figures.probabilities import operating_points, reliability_curve
from cxrexport.report.figures.sex_and_age import sex_and_age
from cxrexport.report.figures.write import SavedFigure, png_bytes, save_figure, svg_bytes

__all__ = [
    "Estimate",
    "FilmPicture",
    "Panel",
    "SavedFigure",
    "bootstrap_histograms",
    "confusion_matrix",
    "contact_sheet",
    "embedding_map",
    "estimates",
    "lung_contours",
    "nearest_films",
    "operating_points",
    "png_bytes",
    "precision_recall_curves",
    "reliability_curve",
    "roc_curves",
    "save_figure",
    "score_against_days",
    "score_histogram",
    "sex_and_age",
    "svg_bytes",
    "tsne_coordinates",
]
