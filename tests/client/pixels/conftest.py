"""Films for the tests of decoding."""

from __future__ import annotations

# Fixtures, which pytest finds by their names here.
from decoding_films import make_dicom, real_film, shared_data, thorax  # noqa: F401
