"""The transfer syntaxes of radiographs. Source: DICOM PS3.5 section 10 and annex A."""

from __future__ import annotations

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"


def _jpeg(*numbers: int) -> frozenset[str]:
    return frozenset(f"1.2.840.10008.1.2.4.{number}" for number in numbers)


JPEG_LOSSY = _jpeg(50, 51)  # baseline and extended: 8 or 12 bits
JPEG_LOSSLESS = _jpeg(57, 70)
JPEG_LS = _jpeg(80, 81)
JPEG_2000 = _jpeg(90, 91, 201, 202, 203)  # the last three are HTJ2K
LOSSLESS = JPEG_LOSSLESS | _jpeg(80, 90, 201, 202) | {RLE}
"""Those compressed ones that lose nothing."""
# With retired processes of JPEG and the second part of JPEG 2000. Video, JPIP references,
# encapsulated uncompressed and private syntaxes hold no film that a server could read.
ENCAPSULATED = JPEG_LS | JPEG_2000 | _jpeg(*range(50, 71), 92, 93) | {RLE}
SYNTAXES = ENCAPSULATED | {IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN}
"""Every one that `read_film` takes."""
