"""A patient's secrets, and the search for each form that they can take."""

from __future__ import annotations

KEY = b"a secret of this test"
NAME = "Zörnström^Jürgen"
SECRETS = {
    "name": NAME,
    "number": "ZORN-7351942086",
    "birth date": "19370214",
    "accession": "ACC5550199173",
    "physician": "Überweis^Doktor",
    "institution": "Klinikum Zornstadt",
    "text": "ZORNTEXT was free to write",
    "overlay": "ZORNOVERLAYBYTES",
    "unseen": "ZORNUNSEEN",
}

ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le")


def forms(text: str) -> set[bytes]:
    """How a text may stand in bytes: its encodings in any case, and hexadecimal."""
    parts = {part for part in (text, *text.replace(" ", "^").split("^")) if len(part) >= 6}
    cases = {case for part in parts for case in (part, part.upper(), part.lower())}
    plain = {form.encode(encoding) for form in cases for encoding in ENCODINGS}
    return plain | {form.hex().encode() for form in plain}


NEEDLES = {form for text in SECRETS.values() for form in forms(text)}


def found_in(data: bytes) -> set[bytes]:
    """Which secrets are in there."""
    return {needle for needle in NEEDLES if needle in data}


DICOM_KINDS = ("explicit", "implicit", "deflated", "one of several frames", "RLE", "baseline",
               "JPEG-LS", "JPEG 2000")  # fmt: skip

ALL_KINDS = (*DICOM_KINDS, "png", "jpeg")
