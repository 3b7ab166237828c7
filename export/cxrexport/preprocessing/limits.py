"""How much a header may claim, and of how many parts a film may be made.

What is refused here no film has; each of it let a small file cost seconds or gigabytes. Where no
source is named, a limit is far above what we found in 233 files of pydicom and pydicom-data and in
films written by OpenCV, libjpeg, OpenJPEG and GDCM (docs/adr/0001-preprocessing.md).
"""

from __future__ import annotations

from cxrexport.errors import TooLarge

__all__ = [
    "JPEG_PIXELS_PER_BYTE",
    "MAX_CHUNKS",
    "MAX_CODED_BYTES",
    "MAX_CODE_BLOCKS",
    "MAX_HELD_BYTES",
    "MAX_INFLATED_BYTES",
    "MAX_JPEG2000_PIXELS",
    "MAX_LUT_BYTES",
    "MAX_PACKETS",
    "MAX_PIXELS",
    "MAX_READS",
    "MAX_SAMPLE_BYTES",
    "MAX_SCANNED_PIXELS",
    "MAX_SCANS",
    "MAX_SEGMENTS",
    "MAX_SEQUENCE_BYTES",
    "MAX_TILES",
    "MAX_VALUE_BYTES",
    "refuse_coded",
    "refuse_more",
    "refuse_too_large",
]

# The largest chest detectors have some 20 million pixels.
MAX_PIXELS = 100_000_000
# Decoded, all channels counted: MAX_PIXELS in 16-bit grey.
MAX_SAMPLE_BYTES = 2 * MAX_PIXELS
# The same in JPEG and JPEG 2000, whose decoders may keep 32 bits a pixel, or copies: 0.6 and 0.8 GB
# for MAX_SAMPLE_BYTES (our measurement).
MAX_CODED_BYTES = 120_000_000
# JPEG 2000: 100 million pixels of 88 coding passes in 115 kB took 15 s (our measurement).
MAX_JPEG2000_PIXELS = 32_000_000
# A progressive JPEG is drawn anew in each scan: 100 scans of MAX_PIXELS took 6 s.
MAX_SCANNED_PIXELS = 4_000_000_000
# A deflated object: 40 million pixels of 16 bits, and the rest; it is there several times at once.
MAX_INFLATED_BYTES = 80_000_000 + (16 << 20)
# What a decoder may hold at once: samples, and the coefficients of a JPEG in several scans.
MAX_HELD_BYTES = 2 * MAX_SAMPLE_BYTES

# About a bit for a block of 64 pixels, and twice that for good measure.
JPEG_PIXELS_PER_BYTE = 1024
# JPEG: encoders write ten scans at most; ICC profiles and thumbnails up to 255 segments each.
MAX_SCANS, MAX_SEGMENTS = 100, 10_000
# PNG: libpng writes pixels in chunks of 8 kB; 200 MB are 25,000.
MAX_CHUNKS = 100_000
# JPEG 2000. Blocks are 32x32 or 64x64: MAX_PIXELS are 100,000. A packet is a layer of a precinct.
MAX_TILES, MAX_CODE_BLOCKS, MAX_PACKETS = 16_384, 400_000, 400_000

# DICOM: pydicom reads each element, item and fragment by itself, a film's in some 350 reads.
MAX_READS = 30_000
# The largest look-up table: 65,536 entries of 16 bits (PS3.3 C.11.1.1.1).
MAX_LUT_BYTES = 2 * 65_536
# A hundred of these, with what is said of them.
MAX_SEQUENCE_BYTES = 16 << 20
# A thousand numbers of 16 characters (PS3.5 6.2).
MAX_VALUE_BYTES = 16_384


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


def refuse_more(count: int, most: int, of: str) -> None:
    """Raise TooLarge where there are more than `most` of what the file is made of."""
    if count > most:
        raise TooLarge(f"it has more than {most:,} {of}, and no film has; export the film again")


def refuse_coded(width: int, height: int, bits: int) -> None:
    """Raise TooLarge where compressed samples of `bits` each take a decoder too much memory."""
    held = width * height * (2 if bits > 8 else 1)
    refuse_more(held, MAX_CODED_BYTES, "bytes of compressed samples")
