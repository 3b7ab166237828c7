"""Films for the exporter's tests, and networks that were built: each made once a session."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from cxrexport.manifest import read_manifest
from cxrexport.phantom import write_phantoms
from made_once import made_once

# On a busy machine everything takes ten times as long, drawing examples as well.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def phantom_manifest(tmp_path_factory):
    """A manifest of 24 drawn films with masks and splits."""
    folder = made_once(
        tmp_path_factory, "phantoms", lambda path: write_phantoms(24, path, seed=5, size_px=512)
    )
    return folder / "manifest.csv"


@pytest.fixture(scope="session")
def phantom_rows(phantom_manifest):
    return read_manifest(phantom_manifest)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A run of the four default members at 64 px, and its repository; nothing in it may change."""
    import built_run  # torch, which not every test here needs

    return built_run.opened(made_once(tmp_path_factory, "built", built_run.build))
