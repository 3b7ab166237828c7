"""The gate's codes: what each means, whether it turns a film away, and in which order they weigh.

What is no image at all (NOT_READABLE, NO_PIXELS, MULTI_FRAME, COLOUR, CONSTANT, TOO_LARGE) fails
in preprocessing, before there is anything to judge (`cxrexport.errors`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Code:
    """One reason.

    Attributes:
        code: stable.
        action: what becomes of a film that has it.
        sentence: what it means, and what to do.
    """

    code: str
    action: Literal["reject", "warn"]
    sentence: str


CODES = (
    Code(
        "WRONG_MODALITY",
        "reject",
        "The header names another kind of examination than a plain radiograph; send the radiograph "
        "itself, or mend the header.",
    ),
    Code(
        "LATERAL_VIEW",
        "reject",
        "The header says that it is a lateral or oblique view; send the frontal film.",
    ),
    Code(
        "POLARITY_SUSPECT",
        "reject",
        "Black and white seem to be swapped; export the film again, as it looks in the viewer.",
    ),
    Code(
        "NO_LUNGS",
        "reject",
        "No two lungs are found on it; send a frontal film that shows the whole chest.",
    ),
    Code(
        "NOT_A_CHEST_FILM",
        "reject",
        "It does not look like an upright frontal chest film; turn it, or send the right film.",
    ),
    Code(
        "RECTANGULAR_ARTEFACT",
        "reject",
        "A rectangle of one value covers part of the picture; send the film without it.",
    ),
    Code(
        "OUT_OF_DISTRIBUTION",
        "reject",
        "To the networks it is unlike all films that they learnt from; a probability would mean "
        "nothing.",
    ),
    Code(
        "BURNED_IN_ANNOTATION",
        "warn",
        "There is writing in the picture; the networks may have looked at it.",
    ),
    Code(
        "MODALITY_OTHER",
        "warn",
        "The header names no radiography (such as CR or DX); make sure that it is a film.",
    ),
    Code(
        "BODY_PART_OTHER",
        "warn",
        "The header names another part of the body; make sure that it is the chest.",
    ),
)
"""The weightiest first: where a film has several, the first one that rejects is told."""

LEARNT = ("POLARITY_SUSPECT", "NO_LUNGS", "NOT_A_CHEST_FILM", "OUT_OF_DISTRIBUTION")
"""Codes that need a reference: which lung maps and embeddings a chest film has is the networks'."""
