"""Is this a frontal chest film that may be judged? Pure functions; numpy, OpenCV and pydicom.

    header flags ─┐
    film, lungs ──┼─▶ admission_flags ─▶ codes, in the order of CODES
    embedding ────┘        ▲
                       Reference: what the repository's own networks say of chest films

The served `admission` step calls it; `cxrexport manifest check` calls what needs no network
(`exclusions`). docs/adr/0014.
"""

from __future__ import annotations

from cxrexport.admission.chest import Chest as Chest, look as look
from cxrexport.admission.codes import CODES as CODES, LEARNT as LEARNT, Code as Code
from cxrexport.admission.exclusions import (
    Exclusion as Exclusion,
    exclusions_of as exclusions_of,
    lateral_view as lateral_view,
)
from cxrexport.admission.features import (
    Picture as Picture,
    grey_copy as grey_copy,
    reduced as reduced,
)
from cxrexport.admission.gate import admission_flags as admission_flags
from cxrexport.admission.lungs import two_largest_kept as two_largest_kept
from cxrexport.admission.rectangles import (
    find_rectangles as find_rectangles,
    has_rectangle as has_rectangle,
)
from cxrexport.admission.reference import (
    FALSE_ALARM_RATE as FALSE_ALARM_RATE,
    Reference as Reference,
    fit_reference as fit_reference,
)
from cxrexport.admission.writing import find_writing as find_writing
