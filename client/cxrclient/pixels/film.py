"""A film: its stored values, and brightness as a reader sees it, white where the body is dense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from cxrclient.errors import Constant
from cxrclient.files import sha256_of

_Entry = TypeVar("_Entry", bound=np.generic)
_Bool = npt.NDArray[np.bool_]
_Stored = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
_UInt16 = npt.NDArray[np.uint16]
_TOP = 65535
_ALL = slice(None)
_PASS_PX = 1 << 18  # half a megabyte, which stays in cache
_STRIP_PX = 1 << 15  # their indices are 256 KB, which stay in cache


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
    padding: _Bool | None = None
    header_flags: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LookUp:
    """A table from stored values to brightness, and the straight ramp that it is, if it is one.

    A ramp, as a window or no window at all gives, is computed instead of looked up: the same
    numbers in a third of the time.

    Attributes:
        table: uint16, an entry for each value that occurs.
        ramp: first and last value of the one slope, gain a step, and brightness of its dark end;
            None where the table is bent.
        clips: whether values occur that lie beyond the slope.
    """

    table: _UInt16
    ramp: tuple[int, int, int, int] | None
    clips: bool

    @classmethod
    def of(cls, table: _UInt16, smallest: int = 0) -> LookUp:
        """Look at a table once; no value below `smallest` occurs."""
        ramp = _ramp_of(table)
        clips = ramp is None or ramp[0] > smallest or ramp[1] < table.size - 1
        return cls(table, ramp, clips)

    def __call__(self, stored: _Stored) -> _UInt16:
        """Look each pixel up: unsigned [rows, columns] to uint16 of the same shape."""
        # numpy's clip takes ten times as long over rows with gaps between them.
        whole = np.require(stored, requirements="C")
        if whole.dtype == np.uint8:
            return self._of_bytes(whole)
        return taken(self.table, whole) if self.ramp is None else self._computed(whole, *self.ramp)

    def _of_bytes(self, stored: _Stored) -> _UInt16:
        table = np.zeros(256, dtype=np.uint16)
        table[: self.table.size] = self.table[:256]
        return np.asarray(cv2.LUT(stored, table), dtype=np.uint16).reshape(stored.shape)

    def _computed(self, stored: _Stored, low: int, high: int, gain: int, base: int) -> _UInt16:
        out = np.empty(stored.shape, dtype=np.uint16)
        if self.clips:
            stored = np.clip(stored, np.uint16(low), np.uint16(high), out=out)
        if gain < 0:
            np.subtract(np.uint16(high), stored, out=out)
        else:
            np.subtract(stored, np.uint16(low), out=out)
        np.multiply(out, np.uint16(abs(gain)), out=out)
        return np.add(out, np.uint16(base), out=out) if base else out


@dataclass(frozen=True, eq=False)
class StoredFilm:
    """A film as it is stored, with the table that it is seen through.

    Margins are cropped away, borders and brightness are found on a sample, and a strip that has
    just been looked up is still in the processor's cache when it is scaled. So brightness is
    worked out for the part that is asked for, and never held for the whole of a large film.

    Attributes:
        stored: uint8 or uint16 [rows, columns]; may be a view of the file's own bytes.
        look_up: from stored values to brightness; None where they are brightness already.
        padding_values: bool, for each value that occurs whether it is padding; None where none is.
        padding: bool [rows, columns], where padding is known by place and not by value.
        header_flags: what the header said, as stable codes.
    """

    stored: _Stored
    look_up: LookUp | None = None
    padding_values: _Bool | None = None
    padding: _Bool | None = None
    header_flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, film: DecodedFilm) -> StoredFilm:
        """Take a decoded film for its own stored form."""
        return cls(film.pixels, padding=film.padding, header_flags=film.header_flags)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.stored.shape
        return rows, columns

    def digest(self) -> str:
        """Give a SHA-256 of the stored values, their type and shape: however they were encoded."""
        layout = repr((self.shape, self.stored.dtype)).encode()
        return sha256_of([layout, self.stored.tobytes()])

    def brightness(self, rows: slice = _ALL, columns: slice = _ALL) -> _UInt16:
        """Give uint16 [rows, columns] of a part, or of every n-th row and column of it."""
        part = self.stored[rows, columns]
        if self.look_up is None:
            return part.astype(np.uint16, copy=False)
        if columns.step is None and 4 * part.shape[1] > 3 * self.stored.shape[1]:
            # Rows with gaps between them are copied first: a few columns more cost less.
            return self.look_up(self.stored[rows])[:, columns]
        return self.look_up(part)

    def padding_at(self, rows: slice = _ALL, columns: slice = _ALL) -> _Bool | None:
        """Tell, as `brightness`, which pixels are padding; None where the film names none."""
        if self.padding is not None:
            return self.padding[rows, columns]
        if self.padding_values is None:
            return None
        return taken(self.padding_values, self.stored[rows, columns])

    def decoded(self) -> DecodedFilm:
        """Work out all of it."""
        return DecodedFilm(self.brightness(), self.padding_at(), self.header_flags)


def film_from_stored(stored: _Stored, flags: tuple[str, ...] = ()) -> StoredFilm:
    """Spread stored values without a look-up table of their own over 16 bits.

    Args:
        stored: uint8 or uint16 [rows, columns], bright is dense.
        flags: what the header said.

    Raises:
        Constant: every pixel has the same value.
    """
    low, high = ends_of(stored)
    refuse_constant(low, high)
    table = ramp_table(np.arange(high + 1, dtype=np.int64), low, high)
    return StoredFilm(stored, LookUp.of(table, low), header_flags=flags)


def ends_of(stored: _Stored) -> tuple[int, int]:
    """Give the smallest and the largest value, with one pass through memory instead of two."""
    strip = max(1, _PASS_PX // stored.shape[1])
    parts = [stored[top : top + strip] for top in range(0, stored.shape[0], strip)]
    lows, highs = zip(*((part.min(), part.max()) for part in parts), strict=True)
    return int(min(lows)), int(max(highs))


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


def taken(table: npt.NDArray[_Entry], pixels: _Stored) -> npt.NDArray[_Entry]:
    """Look pixels up, strip by strip: numpy makes indices of 64 bits of them first.

    Args:
        table: one entry for each value that occurs.
        pixels: unsigned [rows, columns].
    """
    out = np.empty(pixels.shape, dtype=table.dtype)
    strip = max(1, _STRIP_PX // pixels.shape[1])
    for top in range(0, pixels.shape[0], strip):
        rows = slice(top, top + strip)
        # mode="wrap" or "clip" spares numpy a buffered copy; no value can wrap.
        np.take(table, pixels[rows], mode="wrap", out=out[rows])
    return out


def _ramp_of(table: _UInt16) -> tuple[int, int, int, int] | None:
    """Find the table's one slope, as `LookUp.ramp` describes it; None if the table is bent."""
    steps = np.diff(table.astype(np.int32))
    moving = np.flatnonzero(steps)
    if moving.size == 0:
        return None
    low, high, gain = int(moving[0]), int(moving[-1]) + 1, int(steps[moving[0]])
    straight = bool((steps[low:high] == gain).all())
    return (low, high, gain, int(min(table[0], table[-1]))) if straight else None
