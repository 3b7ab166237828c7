"""Of how many parts a film file may be made, and how large a film is at most.

What is refused here no film has; each of it let a small file cost seconds or gigabytes. Where no
source is named, a limit is far above what we found in 233 files of pydicom and pydicom-data and in
films written by OpenCV, libjpeg, OpenJPEG and GDCM (docs/adr/0001-preprocessing.md). Client and
server refuse the same: the server must hold against files that no client of ours has seen.
"""

from __future__ import annotations

from cxrclient.errors import TooLarge

# The largest single-frame films are near 100 MB, and a gRPC message ends at 2 GiB; what is beyond
# is not a film, and would only fill both memories.
MAX_FILE_BYTES = 512 * 2**20
# The largest chest detectors have some 20 million pixels.
MAX_PIXELS = 100_000_000
# A deflated object: 40 million pixels of 16 bits, and the rest; it is there several times at once.
MAX_INFLATED_BYTES = 80_000_000 + (16 << 20)

# JPEG: encoders write ten scans at most; ICC profiles and thumbnails up to 255 segments each.
MAX_SCANS, MAX_SEGMENTS = 100, 10_000
# PNG: libpng writes pixels in chunks of 8 kB; 200 MB are 25,000.
MAX_CHUNKS = 100_000
# JPEG 2000, and parts of tiles.
MAX_TILES = 16_384

# A film takes pydicom some 350 reads: it reads each element, item and fragment by itself. The most
# in 233 files of pydicom and pydicom-data are 3,559.
MAX_READS = 30_000
# A hundred look-up tables of 65,536 entries (PS3.3 C.11.1.1.1), with what is said of them.
MAX_SEQUENCE_BYTES = 16 << 20
# A thousand numbers of 16 characters (PS3.5 6.2).
MAX_VALUE_BYTES = 16_384


def refuse_more(count: int, most: int, of: str) -> None:
    """Raise TooLarge where there are more than `most` of what the file is made of."""
    if count > most:
        raise TooLarge(
            f"The file has more than {most:,} {of}, and no film has. Export the film again."
        )
