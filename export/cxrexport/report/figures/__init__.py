"""The study's figures: data in, a matplotlib figure out; `save_figure` writes SVG and PNG."""

from __future__ import annotations

from cxrexport.report.figures.bootstrap import bootstrap_histograms as bootstrap_histograms
from cxrexport.report.figures.classification import (
    confusion_matrix as confusion_matrix,
    precision_recall_curves as precision_recall_curves,
    roc_curves as roc_curves,
    score_histogram as score_histogram,
)
from cxrexport.report.figures.days import score_against_days as score_against_days
from cxrexport.report.figures.embedding import (
    embedding_map as embedding_map,
    tsne_coordinates as tsne_coordinates,
)
from cxrexport.report.figures.estimates import Estimate as Estimate, estimates as estimates
from cxrexport.report.figures.pictures import (
    FilmPicture as FilmPicture,
    Panel as Panel,
    contact_sheet as contact_sheet,
    films_to_look_at as films_to_look_at,
    lung_contours as lung_contours,
    nearest_films as nearest_films,
)
from cxrexport.report.figures.probabilities import (
    operating_points as operating_points,
    reliability_curve as reliability_curve,
)
from cxrexport.report.figures.sex_and_age import sex_and_age as sex_and_age
from cxrexport.report.figures.write import (
    SavedFigure as SavedFigure,
    png_bytes as png_bytes,
    save_figure as save_figure,
    svg_bytes as svg_bytes,
)
