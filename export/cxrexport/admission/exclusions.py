"""Why a film would not have been in the study, by its header, its row and its own pixels.

What needs no network, so that a manifest can be checked before any is trained; the codes are the
gate's. Source: PAPER.md, Films: 101 films were excluded for lateral position or rectangular
artefacts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cxrexport.admission.header import header_codes
from cxrexport.admission.rectangles import find_rectangles
from cxrexport.preprocessing import DecodedFilm
from cxrexport.preprocessing.crop import Box

_LATERAL = frozenset({"L", "LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT", "LLO", "RLO"})
_NOT_UPRIGHT = frozenset({"DECUBITUS", "DECUB"})
_SAID = {
    "WRONG_MODALITY": "its header names another kind of examination",
    "LATERAL_VIEW": "its header says that it is a lateral view",
    "NOT_A_CHEST_FILM": "its header names another part of the body",
}


@dataclass(frozen=True)
class Exclusion:
    """One reason to leave a film out.

    Attributes:
        code: of `CODES`.
        what: the reason in words.
        box: left, top, width and height in film pixels of what was found; None where the reason is
            not in the picture.
    """

    code: str
    what: str
    box: Box | None = None


def exclusions_of(film: DecodedFilm, view: str | None = None) -> tuple[Exclusion, ...]:
    """Give every reason to leave a film out; none is found where nothing is said or seen.

    Args:
        film: as decoded.
        view: what the manifest says of the view.
    """
    return tuple(_reasons(film, view))


def lateral_view(view: str | None, header_flags: Collection[str] = ()) -> Exclusion | None:
    """Tell a lateral view by what is written; nothing is guessed from the pixels.

    Args:
        view: of a manifest, such as `PA`, `AP Supine`, `L` or `LATERAL`. A lateral decubitus film
            is a frontal view of a patient who lies on the side.
        header_flags: of the decoded film.
    """
    if "LATERAL_VIEW" in header_codes(header_flags):
        return Exclusion("LATERAL_VIEW", _SAID["LATERAL_VIEW"])
    words = set((view or "").upper().replace("-", " ").replace("_", " ").split())
    if words & _LATERAL and not words & _NOT_UPRIGHT:
        return Exclusion("LATERAL_VIEW", f"its view is {view}")
    return None


def _reasons(film: DecodedFilm, view: str | None) -> Iterator[Exclusion]:
    if (lateral := lateral_view(view, film.header_flags)) is not None:
        yield lateral
    for code in header_codes(film.header_flags):
        if code != "LATERAL_VIEW" and code in _SAID:
            yield Exclusion(code, _SAID[code])
    for box in find_rectangles(film):
        left, top, width, height = box
        what = f"a rectangle of one value, {width}x{height} pixels at column {left}, row {top}"
        yield Exclusion("RECTANGULAR_ARTEFACT", what, box)
