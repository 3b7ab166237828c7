"""Predict chest X-ray films on a Triton server and find similar ones. Research use only.

    from cxrclient import CxrClient

    with CxrClient("localhost:8001") as cxr:
        prediction = cxr.predict("film.dcm")
        print(prediction.label, prediction.probability, cxr.model.notice)

Names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import lazy_loader

_named, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

IN_A_NOTEBOOK = "cxrclient.pages:prediction_html"
"""What makes the HTML of a prediction in a notebook: the one call from a room to one above it."""


def __getattr__(name: str) -> object:
    if name != "__version__":
        return _named(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cxr-triton")
    except PackageNotFoundError as error:
        raise AttributeError("cxr-triton is not installed, so nobody knows its version") from error
