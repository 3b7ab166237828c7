"""Films for the tests of preprocessing, and the plain reference beside it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

# Fixtures, which pytest finds by their names here.
from decoding_films import make_dicom, real_film, shared_data, thorax  # noqa: F401


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The plain reference implementation, reference.py: tests do not import one another."""
    path = Path(__file__).with_name("reference.py")
    found = importlib.util.spec_from_file_location("preprocessing_reference", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
