"""`predict --dicom`: from the same inference and the same reading, beside every other output."""

from __future__ import annotations

import json

import pydicom
from film_opens import opens_of
