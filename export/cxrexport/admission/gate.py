"""Everything that is known of a film → the codes that the ensemble's FLAGS carries."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt

from cxrexport.admission.chest import Chest, look
from cxrexport.admission.codes import CODES
from cxrexport.admission.features import grey_copy, reduced
from cxrexport.admission.header import header_codes
from cxrexport.admission.rectangles import has_rectangle
from cxrexport.admission.reference import Reference
from cxrexport.admission.writing import find_writing

Map = npt.NDArray[np.float32]

_LEAST_LUNGS = 0.05
"""Share of the film; the least of 1167 films is 0.083, and a whiteout leaves one lung."""
_INVERTED = -0.25
"""Likeness to the mean chest film; the least of 1167 films is 0.19, 9 in 10 inverted ones are
below -0.25 (benchmarks/admission.py)."""


def admission_flags(
    header_flags: Collection[str],
    cxr: Map,
    lungs: Map,
    embedding: Map,
    reference: Reference | None,
) -> tuple[str, ...]:
    """Give the header's facts as they are, and the gate's codes after them.

    Args:
        header_flags: of preprocessing.
        cxr: float32 [S, S] in 0..1, as the networks see the film.
        lungs: float32 [S, S], lung probability.
        embedding: float32 [n] of the film.
        reference: of the repository; None judges by the header, rectangles and writing alone.
    """
    codes: set[str] = set()
    clearly = None
    if reference is not None:
        chest = look(reduced(cxr, lungs))
        clearly = chest.score > reference.chest_clear
        codes.update(chest_codes(chest, reference))
        if not reference.distance(embedding) <= reference.farthest:
            codes.add("OUT_OF_DISTRIBUTION")
    codes.update(header_codes(header_flags, clearly))
    grey = grey_copy(cxr)
    if has_rectangle(grey):
        codes.add("RECTANGULAR_ARTEFACT")
    if find_writing(grey):
        codes.add("BURNED_IN_ANNOTATION")
    found = (code.code for code in CODES if code.code in codes)
    return tuple(dict.fromkeys((*header_flags, *found)))


def chest_codes(chest: Chest, reference: Reference) -> Iterator[str]:
    """Say whether it is a chest film, and if not, what is most likely wrong with it."""
    if chest.lungs < _LEAST_LUNGS:
        yield "NO_LUNGS"
    if not chest.score >= reference.chest_threshold:
        yield "NOT_A_CHEST_FILM"
        if chest.likeness < _INVERTED:
            yield "POLARITY_SUSPECT"
        elif not chest.two_lungs:
            yield "NO_LUNGS"
