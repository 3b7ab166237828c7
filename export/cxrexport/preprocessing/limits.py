"""How many pixels a header may claim."""

from __future__ import annotations

from cxrexport.errors import TooLarge

__all__ = ["MAX_PIXELS", "refuse_too_large"]

# The largest chest detectors have some 20 million pixels.
MAX_PIXELS = 100_000_000


def refuse_too_large(width: int, height: int, holdable: int | None) -> None:
    """Stop before memory is taken for a claim that the file cannot meet.

    Args:
        width: columns that the header claims.
        height: rows that the header claims.
        holdable: pixels that the file's own bytes could at most stand for; None where the
            compression sets no useful limit.

    Raises:
        TooLarge: the claim is beyond any film, or beyond the file.
    """
    if width * height > MAX_PIXELS:
        raise TooLarge(
            f"the header claims {width}x{height} pixels, more than any film has; "
            "export the film again"
        )
    if holdable is not None and width * height > holdable:
        raise TooLarge(
            f"the header claims {width}x{height} pixels, more than the file can hold; "
            "copy or export the film again"
        )
