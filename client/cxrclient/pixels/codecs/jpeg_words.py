"""What libjpeg says of a stream, and whether it means that part of the film is missing.

It never stops at a cut: it fills the rest with grey and writes a sentence, the first one only.
Source: jerror.h of the IJG's libjpeg 6b (GDCM's) and of libjpeg-turbo, the JWRN_ messages.
"""

from __future__ import annotations

import re

_DAMAGE = re.compile(
    "Corrupt JPEG data: (?!bad ICC marker)|Premature end of JPEG file|Inconsistent progression"
)
_BEHIND_THE_LAST_SCAN = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
# Bytes that it has taken into its bit buffer it does not count.
_BIT_BUFFER_BYTES = 8
_RESTARTS = b"\xff\xdd\x00\x04"  # the segment DRI


def means_damage(words: str, stream: bytes) -> bool:
    """Tell whether a decoder that says this lacks part of the image, or met damage in it.

    Args:
        words: what it said, a line each.
        stream: the JPEG that it decoded, as `bare_jpeg` gives it.
    """
    return any(_line_means_damage(line, stream) for line in words.splitlines())


def _line_means_damage(line: str, stream: bytes) -> bool:
    left_over = _BEHIND_THE_LAST_SCAN.search(line)
    if left_over is None:
        return _DAMAGE.search(line) is not None
    # Padding in front of the end marker is left over, and nothing but padding is. Where zeros stand
    # in the place of a film's end, some of them were decoded, or a restart was looked for in vain.
    data = stream[:-2].rstrip(b"\xff")
    padding = len(data) - len(data.rstrip(b"\0"))
    is_padding = 0 <= padding - int(left_over[1]) <= _BIT_BUFFER_BYTES
    return not is_padding or _RESTARTS in stream
