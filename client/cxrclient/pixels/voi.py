"""From stored values to what a reader sees: modality LUT, VOI LUT, polarity, as one table.

Both look-ups act on single values, so they are worked out once for every value that occurs
(at most 65,536) and not for millions of pixels. pydicom's own functions are not used: apply_voi
indexes a table of 8-bit entries with 8-bit numbers and so wraps after 256 of them, and
apply_windowing gives float64 for every pixel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrclient.errors import NotReadable
from cxrclient.faults import is_ours
from cxrclient.films import MAX_VALUE_BYTES, refuse_long_values
from cxrclient.pixels.film import ramp_table
from cxrclient.pixels.limits import MAX_LUT_BYTES

# An edge this close to a whole stored value is meant to be it.
_TINY = 1e-6

_Float64 = npt.NDArray[np.float64]
_Int64 = npt.NDArray[np.int64]
_UInt16 = npt.NDArray[np.uint16]


def display_table(
    header: Any, values: _Int64, low: int, high: int, inverse: bool
) -> tuple[_UInt16, tuple[str, ...]]:
    """Give the brightness of each stored value.

    Args:
        header: pydicom Dataset with the modality LUT and VOI LUT modules.
        values: the stored values to map, signed where the header says so.
        low: smallest stored value that the film's own pixels (not its padding) have.
        high: largest one; greater than `low`.
        inverse: whether small values are bright (MONOCHROME1).

    Returns:
        uint16, one entry for each of `values`, bright is dense; and what the header said of
        windows: NO_WINDOW where it has none, WINDOW_UNUSABLE where the one it has is not valid or
        leaves no contrast in this film and was passed over.

    Raises:
        NotReadable: a look-up table of the header is damaged.
    """
    flags: tuple[str, ...] = ()
    table = _voi(header, values, low, high)
    if table is None:
        flags = ("WINDOW_UNUSABLE",) if _has_voi(header) else ("NO_WINDOW",)
        table = _without_voi(header, values, low, high)
    return (_turned(table) if inverse else table), flags


def _without_voi(header: Any, values: _Int64, low: int, high: int) -> _UInt16:
    """Spread the film's own values over 16 bits, in the order that the modality LUT gives them."""
    if header.get("ModalityLUTSequence"):
        table = _stretched(_modality(header, values), values, low, high)
        if table is not None:
            return table
    ramp = ramp_table(values, low, high)
    return ramp if _rescale(header)[0] > 0 else _turned(ramp)


def _turned(table: _UInt16) -> _UInt16:
    return (np.uint16(table.max()) - table).astype(np.uint16)


def _has_voi(header: Any) -> bool:
    return bool(header.get("VOILUTSequence")) or header.get("WindowCenter") is not None


def _voi(header: Any, values: _Int64, low: int, high: int) -> _UInt16 | None:
    """Apply the first VOI LUT, or else the first window; None where there is none to trust.

    Source: DICOM PS3.3 C.11.2; a LUT comes before a window, as in pydicom.
    """
    rescaled = _modality(header, values)
    if header.get("VOILUTSequence"):
        seen = _lut(header, header.VOILUTSequence[0], np.rint(rescaled).astype(np.int64))
        return _stretched(seen, values, low, high)
    window = _window(header)
    if window is None:
        return None
    center, width, function = window
    if function == "SIGMOID":
        # Source: PS3.3 C.11.2.1.3.1. The exponent is limited to what float64 holds.
        exponent = np.clip(-4.0 * (rescaled - center) / width, -700, 700)
        return _stretched(1.0 / (1.0 + np.exp(exponent)), values, low, high)
    if function == "LINEAR":
        # Source: PS3.3 C.11.2.1.2.1; LINEAR_EXACT (C.11.2.1.3.2) has no such shift.
        center, width = center - 0.5, width - 1.0
    bottom, top = center - width / 2, center + width / 2
    if header.get("ModalityLUTSequence"):
        return _stretched(np.clip(rescaled, bottom, top), values, low, high)
    return _linear_window(header, values, (low, high), (bottom, top))


def _linear_window(
    header: Any, values: _Int64, used: tuple[int, int], window: tuple[float, float]
) -> _UInt16 | None:
    """Clip at the whole stored values next outside the window; between them nothing is rounded.

    Outside on both ends, so that the mirror image of a film with the mirror image of its window is
    exactly the same film in MONOCHROME1.
    """
    slope, intercept = _rescale(header)
    edges = sorted((edge - intercept) / slope for edge in window)
    bottom = max(math.floor(edges[0] + _TINY), used[0])
    top = min(math.ceil(edges[1] - _TINY), used[1])
    if bottom >= top:
        return None
    table = ramp_table(values, bottom, top)
    return table if slope > 0 else _turned(table)


def _stretched(seen: _Float64, values: _Int64, low: int, high: int) -> _UInt16 | None:
    """Spread what the film's own values look like over 16 bits; None where it is all one grey."""
    used = seen[(values >= low) & (values <= high)]
    if used.size == 0 or not np.isfinite(used).all():
        return None
    darkest, brightest = float(used.min()), float(used.max())
    if brightest <= darkest:
        return None
    share = (np.clip(seen, darkest, brightest) - darkest) / (brightest - darkest)
    return np.asarray(np.rint(share * 65535.0), dtype=np.uint16)


def _modality(header: Any, values: _Int64) -> _Float64:
    """Apply the modality LUT, or else rescale. Source: DICOM PS3.3 C.11.1."""
    if header.get("ModalityLUTSequence"):
        return _lut(header, header.ModalityLUTSequence[0], values)
    slope, intercept = _rescale(header)
    return values * slope + intercept


def _rescale(header: Any) -> tuple[float, float]:
    slope, intercept = _number(header, "RescaleSlope"), _number(header, "RescaleIntercept")
    return (slope if slope else 1.0), (intercept or 0.0)


def _window(header: Any) -> tuple[float, float, str] | None:
    """Give centre, width and function of the first window, None where it is absent or not valid."""
    center, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    function = str(header.get("VOILUTFunction") or "LINEAR").upper()
    function = function if function in ("SIGMOID", "LINEAR_EXACT") else "LINEAR"
    if center is None or width is None or width < (1.0 if function == "LINEAR" else 1e-9):
        return None
    return center, width, function


def _number(header: Any, keyword: str) -> float | None:
    """Read a number or the first of several; None where there is none or it is no number."""
    try:
        value = header.get(keyword)
        if value is not None and not isinstance(value, (str, int, float)):
            value = next(iter(value), None)
        number = None if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return None
    return number if number is not None and np.isfinite(number) else None


def _lut(header: Any, item: Any, values: _Int64) -> _Float64:
    """Look values up in a LUT item; values beyond its ends take its first and last entry.

    Raises:
        NotReadable: the item has no descriptor, or not as many entries as that says.
        TooLarge: it holds more entries than any look-up table.
    """
    for keyword, most in (("LUTDescriptor", MAX_VALUE_BYTES), ("LUTData", MAX_LUT_BYTES)):
        if keyword in item:
            refuse_long_values([item.get_item(keyword)], most)
    try:
        entries, first, bits = (int(number) for number in item.LUTDescriptor)
        entries = entries % 65536 or 65536
        table = _lut_entries(item.LUTData, entries, bits, _byte_order(header))
    except Exception as error:
        if is_ours(error):
            raise
        # pydicom reads the item's values here, and raises whatever their damage leads to.
        raise NotReadable(_DAMAGED_LUT) from None
    if values.min() < 0 and values.max() < first:
        # What is looked up is signed, so the first value is: the writer gave it the VR US.
        first -= 65536
    if table.size < entries:
        raise NotReadable(_DAMAGED_LUT)
    return table[np.clip(values - first, 0, entries - 1)].astype(np.float64)


def _lut_entries(data: Any, entries: int, bits: int, order: str) -> npt.NDArray[Any]:
    """Read LUT Data: words as numbers (VR US) or bytes (VR OW), of one entry or, packed, of two."""
    if isinstance(data, bytes):
        if bits <= 8 and len(data) < 2 * entries and order == "<":
            return np.frombuffer(data, dtype="u1")[:entries]
        words = np.frombuffer(data[: len(data) // 2 * 2], dtype=f"{order}u2").astype(np.uint16)
    else:
        words = np.atleast_1d(np.asarray(data, dtype=np.int64)).astype(np.uint16)
    if bits <= 8 and words.size < entries:
        # Source: PS3.5 8.1.1: of two entries in one word the first is the lower.
        return words.astype("<u2").view("u1")[:entries]
    return words[:entries]


def _byte_order(header: Any) -> str:
    """Give `<` or `>`; pydicom leaves the bytes of VR OW as they are in the file."""
    return ">" if header.original_encoding[1] is False else "<"


_DAMAGED_LUT = "a look-up table in the header is damaged; export the film again"
