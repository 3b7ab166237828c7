"""Films for the exporter's tests."""

from __future__ import annotations

import pytest

from cxrexport.manifest import read_manifest
from cxrexport.phantom import write_phantoms


@pytest.fixture(scope="session")
def phantom_manifest(tmp_path_factory):
    """A manifest of 24 drawn films with masks and splits."""
    return write_phantoms(24, tmp_path_factory.mktemp("phantoms"), seed=5)


@pytest.fixture(scope="session")
def phantom_rows(phantom_manifest):
    return read_manifest(phantom_manifest)
