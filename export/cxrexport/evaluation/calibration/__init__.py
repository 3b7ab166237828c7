"""Temperatures and operating points: fitted on validation films, judged on test films, kept."""

from __future__ import annotations

from cxrexport.evaluation.calibration.judged import CalibrationStudy, calibrate

__all__ = [
    "CalibrationStudy",
    "calibrate",
]
