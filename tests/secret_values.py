"""A secret for each kind of value of a header, and the search for them."""

from __future__ import annotations

import re

# One secret for each kind of value; none may be in a payload, whatever attribute holds it.
SECRETS = {
    **dict.fromkeys(("LO", "LT", "PN", "SH", "ST", "UC", "UT"), "ZORNSECRET"),
    **dict.fromkeys(("AE", "CS"), "ZORNSECRET"),
    "UR": "http://zornsecret.example",
    "UI": "1.2.826.0.1.777777",
    "DA": "19370214",
    "DT": "19370214",
    "TM": "123457.77777",
    "AS": "077Y",
    "DS": "777777.5",
    "IS": "77777777",
    "OB": b"ZORNSECRET",
    "UN": b"ZORNSECRET",
}
LEAK = re.compile(rb"zornsecret|777777|19370214|077Y", re.IGNORECASE)
