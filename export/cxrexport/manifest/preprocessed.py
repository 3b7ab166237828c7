"""Rows of a manifest → films as the server sees them, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cxrclient.errors import Rejected
from cxrexport.errors import ManifestError
from cxrexport.manifest.rows import FilmRow
from cxrexport.preprocessing import PreprocessingSpec, preprocess


def preprocessed(
    rows: Sequence[FilmRow], spec: PreprocessingSpec, advance: Callable[[], None]
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield each film as the server sees it: float32 [1, 1, S, S] in 0..1.

    Raises:
        FilmError: a film cannot be judged; the sentence begins with its file name.
    """
    for row in rows:
        try:
            image = preprocess(row.image.read_bytes(), spec).image
        except Rejected as error:
            raise type(error)(f"{row.image.name}: {error.message}") from error
        except OSError as error:
            raise ManifestError(f"{row.image} cannot be read ({error.strerror})") from error
        yield image[None]
        advance()
