"""UIDs in an archive, hashed where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from cxrclient.archive.checks import verify
from cxrclient.archive.clear_uids import without_uids
from cxrclient.archive.identity import hashed_uid, load_patient_key
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.metadata import FilmMetadata
from cxrclient.archive.own import own_films
from cxrclient.errors import ArchiveMismatch, UsageError
from cxrclient.films.film import read_film
from cxrclient.runs.archiving import archive_films
from cxrclient.wire.client import CxrClient
from secrets_of_a_patient import (
    KEY,
)


def test_hashed_uids_hide_every_uid_and_the_film_is_still_the_same(
    films: dict[str, Path], triton_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_PATIENT_KEY", KEY.decode())
    archive, path = tmp_path / "hashed.db", str(tmp_path / "film.dcm")
    (uuid_uid, series_uid) = (f"2.25.{3**78}", "1.2.840.77.123")
    header = pydicom.dcmread(films["one of several frames"])
    header.StudyInstanceUID = uuid_uid
    header.save_as(path)
    film = read_film(path)
    site = {"prior": series_uid, "of": f"priors/{uuid_uid}.dcm", "treatment": "oxygen 2.5 l"}
    known = FilmMetadata(1, path, columns=site)
    how = {"metadata": {path: known}, "key": KEY}
    with (
        CxrClient(triton_server.grpc_address, gate=False) as cxr,
        SimilarityIndex(archive, model_digest=cxr.model.digest) as index,
    ):
        added = [
            next(o for o in archive_films(cxr, index, [path], hash_uids=True, **how) if o)
            for _ in range(2)
        ]
        assert [(o.added, o.already_there) for o in added] == [(1, 0), (0, 1)]
        hashed = hashed_uid(film.film_id, KEY)
        (kept,) = index.films([hashed])
        assert kept.metadata["study_uid"] == hashed_uid(uuid_uid, KEY)
        assert kept.metadata["prior"] == hashed_uid(series_uid, KEY)
        assert kept.metadata["treatment"] == "oxygen 2.5 l"
        assert own_films(index, cxr.predict(path)).ids == (hashed,)
        assert verify(index) == []
        with pytest.raises(ArchiveMismatch, match="with `hash_uids`"):
            list(archive_films(cxr, index, [path], **how))
    stored = b"".join(p.read_bytes() for p in sorted(tmp_path.iterdir()) if str(p) != path)
    for uid in (film.film_id, uuid_uid, series_uid):
        assert uid.encode() not in stored


@pytest.mark.parametrize(
    ("column", "value", "is_uid"),
    [
        ("study_uid", "1.2", True),  # by its name, whatever is in it
        ("SeriesInstanceUID", "none of the standard", True),
        ("seriesuid", "7", True),
        ("prior", "2.25.302346271936", True),
        ("prior", " 1.2.840.1 ", True),
        ("prior", "1.2.840.010.7", True),  # a zero before the number, as some devices write it
        ("priors", "see 1.2.840.5 and 1.2.840.6", True),
        ("path", "pacs/film_1.2.840.5.dcm", True),
        ("pleural_fluid", "little", False),
        ("dose", "2.5", False),
        ("dose", "0.12345678", False),
        ("taken", "1.12.2020", False),
        ("taken", "2.25.20", False),
        ("firmware", "1.12.0", False),
        ("study_uid", None, False),
        ("days", 3.0, False),
    ],
)
def test_a_uid_is_told_by_its_columns_name_or_its_form(
    column: str, value: object, is_uid: bool
) -> None:
    hidden = without_uids({column: value}, KEY)[column]
    assert (hidden != value) is is_uid
    if isinstance(value, str) and is_uid:
        assert not set(value.split()) & set(str(hidden).split()) - {"see", "and"}
        assert without_uids({column: hidden}, KEY) == {column: hidden}


def test_verify_finds_a_clear_uid_in_an_archive_of_hashed_ones(tmp_path: Path) -> None:
    with SimilarityIndex(tmp_path / "hashed.db", model_digest="a" * 64) as index:
        rows = [{"study_uid": f"2.25.{3**78}"}, {"study_uid": hashed_uid("1.2", KEY)}]
        ids = [hashed_uid("1.2.3", KEY), hashed_uid("1.2.4", KEY)]
        index.add(ids, np.random.default_rng(0).normal(size=(2, 128)), rows)
        assert [(p.code, p.ids) for p in verify(index)] == [("CLEAR_UID", (ids[0],))]


def test_uids_are_not_hashed_into_an_archive_of_clear_ones(
    films: dict[str, Path], triton_server: Any, tmp_path: Path
) -> None:
    with (
        CxrClient(triton_server.grpc_address, gate=False) as cxr,
        SimilarityIndex(tmp_path / "clear.db", model_digest=cxr.model.digest) as index,
    ):
        index.add(["1.2.3"], np.ones((1, 128), np.float32), [{}])
        with pytest.raises(ArchiveMismatch, match="without `hash_uids`"):
            list(archive_films(cxr, index, [], metadata={}, key=KEY, hash_uids=True))


def test_the_key_of_hashed_uids_is_not_made_up(tmp_path: Path) -> None:
    """A new key would find nothing, and say that there is nothing."""
    path = tmp_path / "patient.key"
    with pytest.raises(UsageError, match="There is no patient key"):
        load_patient_key({"CXR_PATIENT_KEY_FILE": str(path)}, make=False)
    assert not path.exists()
