"""Films for the client's tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def films(tmp_path_factory, drawn_film, write_dicom):
    """Six drawn films, different sizes."""
    folder = tmp_path_factory.mktemp("films")
    return [
        write_dicom(folder / f"{n}.dcm", drawn_film(n, rows=200 + 10 * n, columns=180))
        for n in range(6)
    ]
