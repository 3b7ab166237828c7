"""What the node's network uses of pydicom, as one: see `cxrclient.films.pydicom_parts`."""

from __future__ import annotations

import pydicom  # noqa: F401  # the package first: only for it does Python wait till it is whole
from pydicom.dataset import Dataset

__all__ = ["Dataset"]
