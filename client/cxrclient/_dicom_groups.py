"""One frame in a multi-frame object: its look-ups lie in functional groups, not at the top.

They travel at the top, as those of an ordinary film; the groups, with their dates and comments,
stay. Source: DICOM PS3.3 C.7.6.16. What a frame says of itself comes before what all frames share,
and what the object says at the top comes before both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["FUNCTIONAL_GROUPS", "items_of", "with_functional_groups"]

FUNCTIONAL_GROUPS = (0x52009230, 0x52009229)  # of the frames, shared

# Source: DICOM PS3.3 C.7.6.16.2.9 (pixel value transformation: intercept, slope), C.7.6.16.2.10 and
# .10b (frame VOI LUT: table, centre, width, function).
_MACROS = {
    0x00289145: (0x00281052, 0x00281053),
    0x00289132: (0x00283010, 0x00281050, 0x00281051, 0x00281056),
}


def with_functional_groups(elements: Mapping[int, Any]) -> Mapping[int, Any]:
    """The elements, with the look-ups of the one frame among them.

    Args:
        elements: tag → raw element of pydicom.
    """
    groups = [
        items[0]
        for tag in FUNCTIONAL_GROUPS
        if tag in elements and (items := items_of(elements[tag]))
    ]
    lifted: dict[int, Any] = {}
    for macro, tags in _MACROS.items():
        if any(tag in elements for tag in tags):
            continue
        found = next((items for group in groups if (items := _items_in(group, macro))), ())
        for item in found[:1]:
            lifted |= {tag: item.get_item(tag) for tag in tags if tag in item}
    return {**elements, **lifted}


def items_of(element: Any) -> Sequence[Any]:
    """The items of a sequence, pydicom Datasets."""
    if element.is_raw:
        from cxrclient._pydicom import convert_raw_data_element

        element = convert_raw_data_element(element)
    items: Sequence[Any] = element.value or ()
    return items


def _items_in(group: Any, tag: int) -> Sequence[Any]:
    return items_of(group.get_item(tag)) if tag in group else ()
