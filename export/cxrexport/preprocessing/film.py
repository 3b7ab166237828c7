"""A decoded film: brightness as a reader sees it, white where the body is dense."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrexport.errors import Constant

__all__ = ["DecodedFilm", "film_from_stored", "ramp_table", "refuse_constant", "through_table"]

_UInt16 = npt.NDArray[np.uint16]
_TOP = 65535


@dataclass(frozen=True, eq=False)
class DecodedFilm:
    """One film at its own resolution.

    Attributes:
        pixels: uint16 [rows, columns]; brightness after the look-up tables, polarity turned so
            that dense is bright. Only its order and proportions carry meaning, not its unit.
        padding: bool [rows, columns], true where the pixel is no part of the film (black in
            `pixels`); None where the film says of no pixel that it is padding.
        header_flags: what the header said, as stable codes.
    """

    pixels: _UInt16
    padding: npt.NDArray[np.bool_] | None = None
    header_flags: tuple[str, ...] = ()


def film_from_stored(
    stored: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], flags: tuple[str, ...] = ()
) -> DecodedFilm:
    """Spread stored values without a look-up table of their own over 16 bits.

    Args:
        stored: uint8 or uint16 [rows, columns], bright is dense.
        flags: what the header said.

    Raises:
        Constant: every pixel has the same value.
    """
    low, high = int(stored.min()), int(stored.max())
    refuse_constant(low, high)
    table = ramp_table(np.arange(high + 1, dtype=np.int64), low, high)
    return DecodedFilm(through_table(stored, table), None, flags)


def refuse_constant(low: float, high: float) -> None:
    """Raise Constant where the darkest and the brightest pixel are the same."""
    if low >= high:
        raise Constant("every pixel has the same value; export the film again, it holds no image")


def ramp_table(values: npt.NDArray[np.int64], low: int, high: int) -> _UInt16:
    """Map `low` to 0 and every step above it to the same whole number, as large as 16 bits allow.

    Whole steps keep the map exactly linear: nothing is rounded before the film is resampled.
    """
    gain = _TOP // (high - low)
    return ((np.clip(values, low, high) - low) * gain).astype(np.uint16)


def through_table(
    stored: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], table: _UInt16
) -> _UInt16:
    """Look each pixel up.

    A table that is one straight ramp, as a window or no window at all gives, is computed instead:
    the same numbers in a quarter of the time (our measurement: 1.4 against 5 ms for 1955×1841).

    Args:
        stored: unsigned [rows, columns].
        table: uint16, an entry for each value that occurs in `stored`.
    """
    ramp = _ramp_of(table)
    if ramp is None:
        out = np.empty(stored.shape, dtype=np.uint16)
        # mode="wrap" or "clip" spares numpy a buffered copy; no value can wrap.
        return np.take(table, stored, mode="wrap", out=out)
    low, high, gain = ramp
    shifted = np.clip(stored, low, high).astype(np.uint16, copy=False)
    if gain < 0:
        np.subtract(np.uint16(high), shifted, out=shifted)
    else:
        np.subtract(shifted, np.uint16(low), out=shifted)
    np.multiply(shifted, np.uint16(abs(gain)), out=shifted)
    base = int(min(table[0], table[-1]))
    if base:
        np.add(shifted, np.uint16(base), out=shifted)
    return shifted


def _ramp_of(table: _UInt16) -> tuple[int, int, int] | None:
    """Find the first and last value of the table's one slope, and its gain a step; None if bent."""
    steps = np.diff(table.astype(np.int32))
    moving = np.flatnonzero(steps)
    if moving.size == 0:
        return None
    low, high, gain = int(moving[0]), int(moving[-1]) + 1, int(steps[moving[0]])
    return (low, high, gain) if bool((steps[low:high] == gain).all()) else None
