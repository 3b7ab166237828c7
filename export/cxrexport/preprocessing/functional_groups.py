"""One frame in a multi-frame object: its look-ups lie in functional groups, not at the top.

Source: DICOM PS3.3 C.7.6.16. What a frame says of itself comes before what all frames share, and
what the object says at the top comes before both.
"""

from __future__ import annotations

from typing import Any

from cxrexport.preprocessing.bounded import read_items, refuse_long_values

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

    Raises:
        TooLarge: they hold more than any film's.
    """
    read = (read_items(header, keyword) for keyword in FUNCTIONAL_GROUPS)
    groups = [items[0] for items in read if items]
    for macro, keywords in _MACROS.items():
        if any(keyword in header for keyword in keywords):
            continue
        found = [items[0] for group in groups if (items := read_items(group, macro))]
        if found:
            _put(found[0], keywords, header)
    for keyword in FUNCTIONAL_GROUPS:
        if keyword in header:
            delattr(header, keyword)


def _put(item: Any, keywords: tuple[str, ...], header: Any) -> None:
    """Put these attributes of an item into the header."""
    read_items(item, "VOILUTSequence")
    refuse_long_values(item, keywords)
    for keyword in keywords:
        if keyword in item:
            header[keyword] = item[keyword]
