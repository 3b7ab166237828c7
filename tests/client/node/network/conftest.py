"""Certificates for the tests of this folder."""

from __future__ import annotations

import pytest

import certificates


@pytest.fixture(scope="session")
def signed(tmp_path_factory):
    """A folder of certificates and keys; see `certificates.make`."""
    return certificates.make(tmp_path_factory.mktemp("certificates"))
