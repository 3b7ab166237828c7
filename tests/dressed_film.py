"""A drawn film in the headers that hospitals write, as fixtures."""

from __future__ import annotations

import io
from collections.abc import Callable

import pydicom
import pytest
from pydicom.charset import convert_encodings

from clothes import CLOTHES
from cxrexport.phantom.collection import write_phantoms


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A film that nobody is on: 160 px high, not square."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantoms(2, folder, seed=4, size_px=160)
    return min((folder / "images").glob("*.dcm")).read_bytes()


@pytest.fixture(scope="session")
def film(drawn: bytes) -> Callable[..., bytes]:
    """The film in given clothes, and with elements changed: `film("plain", StudyID="7")`."""

    def dressed(clothes: str = "plain", **changes: object) -> bytes:
        dataset = pydicom.dcmread(io.BytesIO(drawn))
        dataset.decompress(generate_instance_uid=False)
        dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
        for name, value in changes.items():
            setattr(dataset, name, value)
        CLOTHES[clothes](dataset)
        syntax = dataset.file_meta.TransferSyntaxUID
        words = dataset.get("SpecificCharacterSet") or "ISO_IR 6"
        dataset.set_original_encoding(syntax.is_implicit_VR, True, convert_encodings(words))
        buffer = io.BytesIO()
        dataset.save_as(buffer, implicit_vr=syntax.is_implicit_VR, little_endian=True)
        return buffer.getvalue()

    return dressed
