"""Temperatures and operating points: fitted on validation films, judged on test films, kept."""

from __future__ import annotations

from cxrexport.evaluation.calibration.fitted import fit_calibration
from cxrexport.evaluation.calibration.judged import CalibrationStudy, calibrate
from cxrexport.evaluation.calibration.operating_points import choose_threshold, point_name
from cxrexport.evaluation.calibration.temperature import fit_shift

__all__ = [
    "CalibrationStudy",
    "calibrate",
    "choose_threshold",
    "fit_calibration",
    "fit_shift",
    "point_name",
]
