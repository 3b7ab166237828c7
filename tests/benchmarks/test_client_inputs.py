"""The server that answers with constants: its answers are such as the client takes."""

from __future__ import annotations

import numpy as np
import pytest
from inputs.client import geometry_of

from cxrclient.films import require_plausible


@pytest.mark.parametrize("size_px", [320, 512, 1024])
def test_the_constant_geometry_is_one_of_a_real_film(size_px: int) -> None:
    require_plausible(np.array(geometry_of(size_px), dtype=np.float32), size_px)
