"""What the archive keeps of a film, beside its embedding."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cxrclient.archive import FilmMetadata
from cxrclient.archive.identity import hashed_uid
from cxrclient.films import Film
from cxrclient.runs.archiving import archive_row

KEY = b"sixteen or more characters"


def row(
    known: FilmMetadata | None = None, options: dict[str, Any] | None = None, **header: Any
) -> dict[str, Any]:
    film = Film(film_id="1.2.3", **header)
    prediction: Any = SimpleNamespace(film=film, label="covid", probability=0.75)
    return archive_row(prediction, known, KEY, **options or {})


@pytest.mark.parametrize("nobody", ["^", "^^^ST. MARY", " "])
def test_a_film_whose_patient_id_names_nobody_is_kept_without_a_patient(nobody: str) -> None:
    assert row(patient_id=nobody, patient_issuer="ST. MARY")["patient_key"] is None
    known = FilmMetadata(2, "a.dcm", patient_id=nobody)
    assert row(known)["patient_key"] is None


def test_what_the_header_says_is_kept_unless_the_metadata_say_otherwise() -> None:
    header = {
        "view": "PA",
        "sex": "F",
        "age": 61.0,
        "days": 3.5,
        "study_uid": "1.2",
        "series_uid": "1.2.3",
    }
    assert header.items() <= row(**header).items()
    known = FilmMetadata(2, "a.dcm", columns={"view": "AP", "days": 4.0})
    assert row(known, **header).items() >= (header | known.columns).items()


def test_the_site_is_the_metadatas_or_else_the_given_one() -> None:
    assert "site" not in row()
    assert row(options={"site": "Hannover"})["site"] == "Hannover"
    known = FilmMetadata(2, "a.dcm", columns={"site": "Essen"})
    assert row(known, options={"site": "Hannover"})["site"] == "Essen"


def test_all_uids_of_a_film_are_hashed_where_they_must_not_be_told() -> None:
    uids = {"study_uid": "1.2", "series_uid": "1.2.3"}
    hashed = row(options={"hash_uids": True}, **uids)
    assert {hashed[name] for name in uids} == {hashed_uid(uid, KEY) for uid in uids.values()}
