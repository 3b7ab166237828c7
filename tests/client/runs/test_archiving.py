"""What the archive keeps of a film, beside its embedding."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cxrclient.archive import FilmMetadata
from cxrclient.films import Film
from cxrclient.runs.archiving import archive_row

KEY = b"sixteen or more characters"


def row(known: FilmMetadata | None = None, **header: Any) -> dict[str, Any]:
    film = Film(film_id="1.2.3", **header)
    prediction: Any = SimpleNamespace(film=film, label="covid", probability=0.75)
    return archive_row(prediction, known, KEY)


@pytest.mark.parametrize("nobody", ["^", "^^^ST. MARY", " "])
def test_a_film_whose_patient_id_names_nobody_is_kept_without_a_patient(nobody: str) -> None:
    assert row(patient_id=nobody, patient_issuer="ST. MARY")["patient_key"] is None
    known = FilmMetadata(2, "a.dcm", patient_id=nobody)
    assert row(known)["patient_key"] is None


def test_what_the_header_says_is_kept_unless_the_metadata_say_otherwise() -> None:
    header = {"view": "PA", "sex": "F", "age": 61.0, "days": 3.5, "study_uid": "1.2"}
    assert header.items() <= row(**header).items()
    known = FilmMetadata(2, "a.dcm", columns={"view": "AP", "days": 4.0})
    assert row(known, **header).items() >= (header | known.columns).items()
