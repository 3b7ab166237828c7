"""What the header says against a film, and what the pixels may say against the header."""

from __future__ import annotations

from collections.abc import Collection


def header_codes(flags: Collection[str], clearly_chest: bool | None = None) -> tuple[str, ...]:
    """Turn a header's facts into reasons; the pixels have a vote where a person typed the fact.

    A machine writes its own modality: CT, MR or ultrasound stays what it is, whatever it shows (a
    CT scanogram is no film). Modalities that radiographs also travel under (a scanned film is OT,
    a film from a fluoroscope RF) and the body part, which is typed or left at a default, lose
    against pixels that clearly show a chest.

    Args:
        flags: of the film's header (`cxrclient.pixels.header`).
        clearly_chest: whether the pixels look like a chest film beyond doubt; None where nothing
            can judge them.
    """
    found = []
    if "NO_RADIOGRAPH" in flags or ("MODALITY_OTHER" in flags and clearly_chest is False):
        found.append("WRONG_MODALITY")
    if "VIEW_LATERAL" in flags:
        found.append("LATERAL_VIEW")
    if "BODY_PART_OTHER" in flags and not clearly_chest:
        found.append("NOT_A_CHEST_FILM")
    return tuple(found)
