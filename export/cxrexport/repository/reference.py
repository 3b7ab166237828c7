"""What a repository records of its admission reference, and whether the file is still that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxrclient.files import sha256_of
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


def unlike_reference(
    directory: Path, reference: ServedReference | None, model_digest: str
) -> Iterator[tuple[str, str]]:
    """Compare the reference that lies in a repository with the recorded one.

    Yields:
        File relative to the repository, and what is wrong with it.
    """
    path = directory / REFERENCE
    again = "run `cxrexport admission`"
    if reference is None:
        if path.exists():
            yield REFERENCE, f"is not recorded; {again}, or remove it"
    elif not path.is_file():
        yield REFERENCE, f"is missing; {again} again"
    elif (found := sha256_of(path)) != reference.sha256:
        yield REFERENCE, f"has sha256 {found[:12]}…, recorded is {reference.sha256[:12]}…"
    elif reference.model_digest != model_digest:
        yield REFERENCE, f"was fitted to other graphs; {again} again"
