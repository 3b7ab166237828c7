"""Rows become films as the server sees them; one that cannot is named."""

from __future__ import annotations

import dataclasses

import pytest

from cxrexport.errors import FilmError
from cxrexport.manifest.preprocessed import preprocessed
from cxrexport.preprocessing import PreprocessingSpec


def test_a_film_that_cannot_be_judged_is_named(phantom_rows, tmp_path):
    (tmp_path / "torn.dcm").write_bytes(phantom_rows[0].image.read_bytes()[:2000])
    row = dataclasses.replace(phantom_rows[0], image=tmp_path / "torn.dcm")
    with pytest.raises(FilmError, match=r"torn\.dcm: ") as caught:
        list(preprocessed([row], PreprocessingSpec(size_px=64), lambda: None))
    assert caught.value.code == "NOT_READABLE"
