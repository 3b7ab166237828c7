"""Films in PNG and JPEG that hold secrets outside their pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo


@pytest.fixture
def png_with_secrets(drawn_film):
    info = PngInfo()
    info.add_text("Patient", "ZORNSECRET")
    info.add_itxt("Comment", "ZORNSECRET")
    exif = Image.Exif()
    exif[0x010E] = "ZORNSECRET"
    buffer = io.BytesIO()
    Image.fromarray(drawn_film()).save(buffer, "PNG", pnginfo=info, exif=exif)
    return buffer.getvalue() + b"ZORNSECRET"


@pytest.fixture
def jpeg_with_secrets(drawn_film):
    exif = Image.Exif()
    exif[0x010E] = "ZORNSECRET"
    buffer = io.BytesIO()
    image = Image.fromarray((drawn_film() >> 4).astype(np.uint8))
    image.save(buffer, "JPEG", exif=exif, comment=b"ZORNSECRET", icc_profile=b"ZORNSECRET")
    return buffer.getvalue() + b"ZORNSECRET"
