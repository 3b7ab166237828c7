"""The only code that turns pixels into a network input. numpy and OpenCV; never torch.

    bytes → decode_film → film_box → scale, standardise, pad, CLAHE → image and Geometry

The first step is `cxrclient.pixels`.

Training reaches it through one MONAI transform, the server through its `preprocess` model.
"""

from __future__ import annotations

from cxrclient.pixels import DecodedFilm as DecodedFilm, decode_film as decode_film
from cxrexport.preprocessing.crop import film_box as film_box
from cxrexport.preprocessing.geometry import Geometry as Geometry
from cxrexport.preprocessing.normalise import (
    Preprocessed as Preprocessed,
    preprocess as preprocess,
    preprocess_film as preprocess_film,
)
from cxrexport.preprocessing.spec import PreprocessingSpec as PreprocessingSpec
