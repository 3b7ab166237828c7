"""Is this a frontal chest film that may be judged? Pure functions; numpy, OpenCV and pydicom.

    header flags ─┐
    film, lungs ──┼─▶ admission_flags ─▶ codes, in the order of CODES
    embedding ────┘        ▲
                       Reference: what the repository's own networks say of chest films

The served `admission` step calls it; `cxrexport manifest check` calls what needs no network
(`exclusions`). docs/adr/0014.
"""

from __future__ import annotations

from cxrexport.admission.chest import Chest, look
from cxrexport.admission.codes import CODES, LEARNT, Code
from cxrexport.admission.exclusions import Exclusion, exclusions_of, lateral_view
from cxrexport.admission.features import Picture, grey_copy, reduced
from cxrexport.admission.gate import admission_flags
from cxrexport.admission.lungs import two_largest_kept
from cxrexport.admission.rectangles import find_rectangles, has_rectangle
from cxrexport.admission.reference import FALSE_ALARM_RATE, Reference, fit_reference
from cxrexport.admission.writing import find_writing

__all__ = [
    "CODES",
    "FALSE_ALARM_RATE",
    "LEARNT",
    "Chest",
    "Code",
    "Exclusion",
    "Picture",
    "Reference",
    "admission_flags",
    "exclusions_of",
    "find_rectangles",
    "find_writing",
    "fit_reference",
    "grey_copy",
    "has_rectangle",
    "lateral_view",
    "look",
    "reduced",
    "two_largest_kept",
]
