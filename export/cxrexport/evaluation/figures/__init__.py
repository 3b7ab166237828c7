"""The study's figures: data in, a matplotlib figure out; `save_figure` writes SVG and PNG."""

from __future__ import annotations

from cxrexport.evaluation.figures.bootstrap import bootstrap_histograms
from cxrexport.evaluation.figures.calibration import operating_points, reliability_curve
from cxrexport.evaluation.figures.classification import (
    confusion_matrix,
    precision_recall_curves,
    roc_curves,
    score_histogram,
)
from cxrexport.evaluation.figures.days import score_against_days
from cxrexport.evaluation.figures.embedding import embedding_map, tsne_coordinates
from cxrexport.evaluation.figures.errors import sex_and_age
from cxrexport.evaluation.figures.estimates import Estimate, estimates
from cxrexport.evaluation.figures.pictures import (
    FilmPicture,
    Panel,
    contact_sheet,
    lung_contours,
    nearest_films,
)
from cxrexport.evaluation.figures.plates import Part, Plate
from cxrexport.evaluation.figures.write import SavedFigure, png_bytes, save_figure, svg_bytes

__all__ = [
    "Estimate",
    "FilmPicture",
    "Panel",
    "Part",
    "Plate",
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
