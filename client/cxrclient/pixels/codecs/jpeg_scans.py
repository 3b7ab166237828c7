"""Whether the scans of a JPEG bring the whole image: decoders draw those that have come."""

from __future__ import annotations

import numpy as np

_COEFFICIENTS = 64
_ALL_BITS = 255


def bring_all(frame: bytes, scans: list[bytes], progressive: bool) -> bool:
    """Follow what each scan brings of each component, down to the last bit of all coefficients.

    Source: ITU-T T.81, B.2.3, and G.1.1.1.1 for progressive ones.

    Args:
        frame: what the frame header says, from its precision on.
        scans: what the header of each scan says, from its number of components on.
        progressive: whether a scan brings some coefficients, and of them some bits; else all.

    Returns:
        False where something never comes, and where a header makes no sense.
    """
    components = frame[6 : 6 + 3 * frame[5] : 3]
    to_come = np.full((256, _COEFFICIENTS), _ALL_BITS, np.uint8)
    for scan in scans:
        if not scan or len(scan) != 4 + 2 * scan[0]:
            return False
        first, last, approximation = scan[-3:] if progressive else (0, _COEFFICIENTS - 1, 0)
        to_come[list(scan[1:-3:2]), first : last + 1] = approximation & 0x0F
    return not to_come[list(components)].any()
