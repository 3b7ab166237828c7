"""The figures of the report with their captions: drawn from an evaluation, or why not."""

from __future__ import annotations

from cxrexport.report.plates.drawn import draw_plates as draw_plates
from cxrexport.report.plates.plate import Part as Part, Plate as Plate
