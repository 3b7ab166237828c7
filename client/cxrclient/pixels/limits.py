"""How much a header may claim, and what a decoder may be asked for.

What is refused here no film has; each of it let a small file cost seconds or gigabytes. Of how many
parts a file may be made, says `cxrclient.films`.
"""

from __future__ import annotations

from cxrclient.errors import TooLarge
from cxrclient.films import MAX_PIXELS, refuse_more

# Decoded, all channels counted: MAX_PIXELS in 16-bit grey.
MAX_SAMPLE_BYTES = 2 * MAX_PIXELS
# The same in JPEG and JPEG 2000, whose decoders may keep 32 bits a pixel, or copies: 0.6 and 0.8 GB
# for MAX_SAMPLE_BYTES (our measurement).
MAX_CODED_BYTES = 120_000_000
# JPEG 2000: 100 million pixels of 88 coding passes in 115 kB took 15 s (our measurement).
MAX_JPEG2000_PIXELS = 32_000_000
# A progressive JPEG is drawn anew in each scan: 100 scans of MAX_PIXELS took 6 s.
MAX_SCANNED_PIXELS = 4_000_000_000
# What a decoder may hold at once: samples, and the coefficients of a JPEG in several scans.
MAX_HELD_BYTES = 2 * MAX_SAMPLE_BYTES

# About a bit for a block of 64 pixels, and twice that for good measure.
JPEG_PIXELS_PER_BYTE = 1024
# JPEG 2000. Blocks are 32x32 or 64x64: MAX_PIXELS are 100,000. A packet is a layer of a precinct.
MAX_CODE_BLOCKS, MAX_PACKETS = 400_000, 400_000
# The largest look-up table: 65,536 entries of 16 bits (PS3.3 C.11.1.1.1).
MAX_LUT_BYTES = 2 * 65_536


def refuse_too_large(
    width: int, height: int, holdable: int | None, sample_bytes: int | None = None
) -> None:
    """Stop before memory is taken for a claim that the file cannot meet.

    Args:
        width: columns that the header claims.
        height: rows that the header claims.
        holdable: pixels that the file's own bytes could at most stand for; None where the
            compression sets no useful limit.
        sample_bytes: of a pixel once decoded, all channels; None for grey of at most 16 bits.

    Raises:
        TooLarge: the claim is beyond any film, or beyond the file.
    """
    if width * height > MAX_PIXELS:
        raise TooLarge(
            f"the header claims {width}x{height} pixels, more than any film has; "
            "export the film again"
        )
    if width * height * (sample_bytes or 1) > MAX_SAMPLE_BYTES:
        raise TooLarge(
            f"its {width}x{height} pixels take {width * height * (sample_bytes or 1) >> 20} MiB "
            "with all channels, more than any film does; export the film in grey"
        )
    if holdable is not None and width * height > holdable:
        raise TooLarge(
            f"the header claims {width}x{height} pixels, more than the file can hold; "
            "copy or export the film again"
        )


def refuse_coded(width: int, height: int, bits: int) -> None:
    """Raise TooLarge where compressed samples of `bits` each take a decoder too much memory."""
    held = width * height * (2 if bits > 8 else 1)
    refuse_more(held, MAX_CODED_BYTES, "bytes of compressed samples")
