"""What a repository records of its admission reference, and tells clients of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cxrexport.admission.codes import CODES, LEARNT

REFERENCE = "admission/1/reference.json"
"""Relative to the repository; `cxrexport admission` makes it."""


@dataclass(frozen=True)
class ServedReference:
    """The films that the gate knows, in numbers.

    Attributes:
        sha256: of the file, hex.
        model_digest: of the graphs that saw the films.
        films: how many it was fitted on.
        patients: of them.
        sources: source → films.
        false_alarm_rate: the share of such films that each fitted threshold turns away, 0..1.
    """

    sha256: str
    model_digest: str
    films: int
    patients: int
    sources: Mapping[str, int]
    false_alarm_rate: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ServedReference:
        """Read what `dataclasses.asdict` made; an unknown or missing key raises TypeError."""
        return cls(**{**values, "sources": dict(values["sources"])})


def admission_parameter(reference: ServedReference | None) -> str:
    """Tell clients, as JSON, which codes turn a film away or warn, and what is not judged."""
    codes = [code for code in CODES if reference is not None or code.code not in _UNJUDGED]
    fitted = None if reference is None else asdict(reference)
    told = {
        "codes": [asdict(code) for code in codes],
        "not_judged": list(_UNJUDGED) if reference is None else [],
        "reference": fitted,
    }
    return json.dumps(told, ensure_ascii=False)


# A header that names another part of the body gives NOT_A_CHEST_FILM without any reference.
_UNJUDGED = tuple(code for code in LEARNT if code != "NOT_A_CHEST_FILM")
