"""Temperatures and operating points: fitted on validation films, judged on test films, kept."""

from __future__ import annotations

from cxrexport.evaluation.calibration.fitted import fit_calibration as fit_calibration
from cxrexport.evaluation.calibration.judged import (
    CalibrationStudy as CalibrationStudy,
    calibrate as calibrate,
)
from cxrexport.evaluation.calibration.operating_points import (
    choose_threshold as choose_threshold,
    point_name as point_name,
)
from cxrexport.evaluation.calibration.temperature import fit_shift as fit_shift
