"""One frame in a multi-frame object: its look-ups lie in functional groups, not at the top.

They travel at the top, as those of an ordinary film; the groups, with their dates and comments,
stay. Source: DICOM PS3.3 C.7.6.16. What a frame says of itself comes before what all frames share,
and what the object says at the top comes before both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

from cxrclient.errors import MultiFrame
from cxrclient.films.dicom_stream import BoundedReader
from cxrclient.films.limits import MAX_SEQUENCE_BYTES, MAX_VALUE_BYTES, refuse_more

NUMBER_OF_FRAMES = 0x00280008
FUNCTIONAL_GROUPS = (0x52009230, 0x52009229)  # of the frames, shared

# Source: DICOM PS3.3 C.7.6.16.2.9 (pixel value transformation: intercept, slope), C.7.6.16.2.10 and
# .10b (frame VOI LUT: table, centre, width, function).
_MACROS = {
    0x00289145: (0x00281052, 0x00281053),
    0x00289132: (0x00283010, 0x00281050, 0x00281051, 0x00281056),
}


def refuse_several_frames(elements: Mapping[int, Any]) -> None:
    """Raise MultiFrame where there is more than one frame."""
    element = elements.get(NUMBER_OF_FRAMES)
    frames = bytes(element.value or b"").strip(b"\0 ") if element is not None else b""
    if frames.isdigit() and int(frames[:10]) > 1:
        raise MultiFrame("The object holds several frames. Send one frontal film as one object.")


def refuse_long_values(elements: Iterable[Any], most: int = MAX_VALUE_BYTES) -> None:
    """Raise TooLarge where the value of one of these raw elements is longer than `most` bytes.

    pydicom makes objects of all numbers in a value, and items where its VR says SQ.
    """
    for element in elements:
        if isinstance(element.value, bytes):
            refuse_more(len(element.value), most, "bytes in one of its values")


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
    """The items of a sequence, pydicom Datasets.

    Raises:
        TooLarge: it has more items or bytes than any film's.
    """
    items: Sequence[Any]
    if not element.is_raw:
        items = element.value or ()
        return items
    from cxrclient.films.pydicom_parts import read_sequence

    value = element.value or b""
    refuse_more(len(value), MAX_SEQUENCE_BYTES, "bytes in a sequence")
    stream = BoundedReader(BytesIO(value))
    implicit, little = element.is_implicit_VR, element.is_little_endian
    try:
        items = read_sequence(stream, implicit, little, len(value), "iso8859")
    except Exception:
        stream.refuse_spent()
        raise
    return items


def _items_in(group: Any, tag: int) -> Sequence[Any]:
    return items_of(group.get_item(tag)) if tag in group else ()
