"""One frame in a multi-frame object: its look-ups lie in functional groups, not at the top.

Source: DICOM PS3.3 C.7.6.16. What a frame says of itself comes before what all frames share, and
what the object says at the top comes before both.
"""

from __future__ import annotations

from typing import Any

__all__ = ["FUNCTIONAL_GROUPS", "lift_functional_groups"]

FUNCTIONAL_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")

# Source: DICOM PS3.3 C.7.6.16.2.9 (pixel value transformation), C.7.6.16.2.10 and .10b (frame VOI
# LUT, with look-up table).
_MACROS = {
    "PixelValueTransformationSequence": ("RescaleIntercept", "RescaleSlope"),
    "FrameVOILUTSequence": ("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
}


def lift_functional_groups(header: Any) -> None:
    """Put the look-ups of the one frame where those of an ordinary object are.

    Args:
        header: pydicom Dataset of one frame; its functional groups are taken out.
    """
    groups = [items[0] for items in map(header.get, FUNCTIONAL_GROUPS) if items]
    for macro, keywords in _MACROS.items():
        if any(keyword in header for keyword in keywords):
            continue
        found: list[Any] = [group[macro].value[0] for group in groups if group.get(macro)]
        for keyword in keywords if found else ():
            if keyword in found[0]:
                header[keyword] = found[0][keyword]
    for keyword in FUNCTIONAL_GROUPS:
        if keyword in header:
            delattr(header, keyword)
