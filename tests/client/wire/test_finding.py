"""What the positive label is, as a coded concept: from the server's parameters to the user."""

from __future__ import annotations

import json

import pytest

from cxrclient.wire import EnsembleInfo, Finding
from tiny_repository import PARAMETERS

TUBERCULOSIS = {"scheme": "SCT", "value": "56717001", "meaning": "Tuberculosis"}


def test_a_server_says_it_or_has_none() -> None:
    assert EnsembleInfo.from_parameters(PARAMETERS).finding is None
    assert EnsembleInfo.from_parameters({**PARAMETERS, "finding": "null"}).finding is None
    said = EnsembleInfo.from_parameters({**PARAMETERS, "finding": json.dumps(TUBERCULOSIS)})
    assert said.finding == Finding("SCT", "56717001", "Tuberculosis")
    assert str(said.finding) == "Tuberculosis (SCT 56717001)"


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 56717001},
        {"value": ""},
        {"value": "1" * 65},
        {"scheme": "S" * 17},
        {"scheme": " SCT"},
        {"meaning": "t" * 65},
        {"meaning": "a\\b"},
        {"meaning": "two\nlines"},
        {"version": "1"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_dicom_could_not_hold_is_refused(changes: dict[str, object]) -> None:
    told = json.dumps({**TUBERCULOSIS, **changes})
    with pytest.raises(ValueError, match="finding"):
        EnsembleInfo.from_parameters({**PARAMETERS, "finding": told})


def test_what_is_no_concept_at_all_is_refused() -> None:
    for told in ('"tb"', "[1]", "{}", "no JSON"):
        with pytest.raises(ValueError, match="finding"):
            EnsembleInfo.from_parameters({**PARAMETERS, "finding": told})
