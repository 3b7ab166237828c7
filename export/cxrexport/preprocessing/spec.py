"""The parameters of the preprocessing: frozen, validated, bound to trained weights by a digest."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cxrclient.files import sha256_of

_VERSION = 1


@dataclass(frozen=True)
class PreprocessingSpec:
    """Everything that changes a number in the network's input.

    The study states the steps but neither the percentiles nor the CLAHE parameters: those are our
    choice (docs/adr/0001-preprocessing.md). Weights are only valid with the spec they were trained
    with, so its `digest` travels in checkpoints, ONNX metadata and the served configuration.

    Attributes:
        size_px: side of the square network input; a multiple of 32, 32 to 2048.
        percentile_low: darkest share of the cropped film that becomes 0, in percent.
        percentile_high: share of the cropped film below which brightness is kept, in percent.
        percentile_grid: samples along the longer side on which the percentiles are taken.
        clahe_clip_limit: OpenCV's clip limit; 0 leaves CLAHE out.
        clahe_tiles: tiles along each side of the square.
        crop_thumbnail_px: longer side of the copy in which borders are looked for.
        crop_black: brightness below which a border is black, as a share of the film's range.
        crop_white: brightness above which a border row is blank white, as a share of the range.
        crop_opening: side of the opening that removes letters and markers, as a share of the
            longer side.
        crop_min_area: smallest part that is still film, as a share of the thumbnail's area.
        crop_min_side: a crop that leaves less than this share of a side is not trusted.
        version: of the algorithm itself; changes when the same parameters give other numbers.
    """

    size_px: int = 1024
    percentile_low: float = 1.0
    percentile_high: float = 99.0
    percentile_grid: int = 256
    clahe_clip_limit: float = 2.0
    clahe_tiles: int = 8
    crop_thumbnail_px: int = 256
    crop_black: float = 0.05
    crop_white: float = 0.98
    crop_opening: float = 0.03
    crop_min_area: float = 0.02
    crop_min_side: float = 0.4
    version: int = _VERSION

    def __post_init__(self) -> None:
        """Refuse what no film could be preprocessed with.

        Raises:
            ValueError: a parameter has the wrong type or lies outside its range.
        """
        for field in fields(self):
            self._check_type(field.name, str(field.type))
        _require(32 <= self.size_px <= 2048 and self.size_px % 32 == 0, "size_px", "32, 64 … 2048")
        _require(
            0.0 <= self.percentile_low < self.percentile_high <= 100.0,
            "percentile_low and percentile_high",
            "0 <= low < high <= 100",
        )
        _require(16 <= self.percentile_grid <= 4096, "percentile_grid", "16 to 4096")
        _require(0.0 <= self.clahe_clip_limit <= 100.0, "clahe_clip_limit", "0 to 100")
        _require(
            1 <= self.clahe_tiles <= self.size_px // 4, "clahe_tiles", "1 to a quarter of size_px"
        )
        _require(32 <= self.crop_thumbnail_px <= 1024, "crop_thumbnail_px", "32 to 1024")
        _require(
            0.0 <= self.crop_black < self.crop_white <= 1.0,
            "crop_black and crop_white",
            "0 <= black < white <= 1",
        )
        _require(0.0 <= self.crop_opening <= 0.2, "crop_opening", "0 to 0.2")
        _require(0.0 <= self.crop_min_area <= 0.5, "crop_min_area", "0 to 0.5")
        _require(0.1 <= self.crop_min_side <= 1.0, "crop_min_side", "0.1 to 1")
        _require(self.version == _VERSION, "version", f"{_VERSION}, the one this code computes")

    def _check_type(self, name: str, kind: str) -> None:
        value = getattr(self, name)
        if kind == "int":
            _require(type(value) is int, name, "a whole number")
            return
        _require(type(value) in (int, float) and math.isfinite(value), name, "a finite number")
        # 2 and 2.0 are the same parameter, so they must have the same digest.
        object.__setattr__(self, name, float(value))

    def to_dict(self) -> dict[str, int | float]:
        """Give every parameter by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> PreprocessingSpec:
        """Read what `to_dict` wrote; nothing is guessed.

        Raises:
            ValueError: a key is unknown or missing, or a value is not valid.
        """
        known = {field.name for field in fields(cls)}
        unknown, missing = sorted(set(parameters) - known), sorted(known - set(parameters))
        if unknown or missing:
            raise ValueError(f"preprocessing spec: unknown keys {unknown}, missing keys {missing}")
        return cls(**parameters)

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the parameters as canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return sha256_of(text)


def _require(holds: bool, name: str, expected: str) -> None:
    if not holds:
        raise ValueError(f"preprocessing spec: {name} must be {expected}")
