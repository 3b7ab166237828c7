"""Patient keys: the same patient is the same, nobody can tell who, and the secret stays private."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cxrclient.archive.identity import (
    hashed_uid,
    load_patient_key,
    names_somebody,
    patient_key,
    same_patient_id,
)
from cxrclient.archive.milvus.rows import is_id
from cxrclient.errors import UsageError

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
SECRET = b"0123456789abcdef"


def at(path: Path) -> dict[str, str]:
    return {"CXR_PATIENT_KEY_FILE": str(path)}


def test_the_key_is_the_whole_of_hmac_sha_256() -> None:
    expected = hmac.new(SECRET, b"4711", hashlib.sha256).hexdigest()
    assert patient_key("4711", SECRET) == expected


def test_the_issuer_is_hashed_with_the_number() -> None:
    expected = hmac.new(SECRET, b"4711\0ST. MARY", hashlib.sha256).hexdigest()
    assert patient_key("4711", SECRET, "ST. MARY ") == expected


def test_the_same_number_of_two_hospitals_is_two_patients() -> None:
    keys = {patient_key("4711", SECRET, issuer) for issuer in (None, "ST. MARY", "ST. JOHN")}
    assert len(keys) == 3


@pytest.mark.parametrize("issuer", [None, "", "  ", "\0"])
def test_a_blank_issuer_is_none(issuer: str | None) -> None:
    assert patient_key("4711", SECRET, issuer) == patient_key("4711", SECRET)


@pytest.mark.parametrize("written", [" 4711 ", "4711\0", "4711^^^", "4711^", "4711^^^^"])
def test_how_a_patient_id_is_written_does_not_make_another_patient(written: str) -> None:
    assert patient_key(written, SECRET) == patient_key("4711", SECRET)
    assert same_patient_id(written, "4711")


def test_letters_may_be_composed_or_not() -> None:
    assert patient_key("M\u00fcller 1", SECRET) == patient_key("Mu\u0308ller 1", SECRET)


@pytest.mark.parametrize("written", ["4711^^^ST. MARY", "4711^^^ST. MARY^PI"])
def test_an_hl7_identifier_is_a_number_and_its_issuer(written: str) -> None:
    assert patient_key(written, SECRET) == patient_key("4711", SECRET, "ST. MARY")
    assert patient_key(written, SECRET, "ST. JOHN") == patient_key("4711", SECRET, "ST. JOHN")


@pytest.mark.parametrize("other", ["04711", "4711 A", "4711^A", "47^11", ""])
def test_other_numbers_are_other_patients(other: str) -> None:
    assert not same_patient_id(other, "4711")
    assert not other or patient_key(other, SECRET) != patient_key("4711", SECRET)


@pytest.mark.parametrize("nobody", [None, "", " ", "\0", "^", "^^ ", "^^^", "^^^ST. MARY^PI"])
def test_what_is_no_number_is_nobodys(nobody: str | None) -> None:
    assert not names_somebody(nobody)
    with pytest.raises(UsageError, match="empty"):
        patient_key(nobody or "", SECRET)


def test_nobody_is_not_the_same_as_nobody() -> None:
    assert not same_patient_id("", " ")


def test_a_hashed_uid_is_hmac_sha_256_with_a_prefix_that_no_uid_has() -> None:
    expected = hmac.new(SECRET, b"\x001.2.840.99", hashlib.sha256).hexdigest()
    assert hashed_uid("1.2.840.99", SECRET) == f"h:{expected}"


def test_a_hashed_uid_is_hashed_once() -> None:
    once = hashed_uid("1.2.840.99", SECRET)
    assert hashed_uid(once, SECRET) == once


def test_a_hashed_uid_can_be_an_id_of_the_archive() -> None:
    assert is_id(hashed_uid("1.2.840.99", SECRET))


def test_the_hash_of_a_uid_is_no_patient_key() -> None:
    """A patient's number may read like a UID."""
    assert patient_key("1.2.3", SECRET) not in hashed_uid("1.2.3", SECRET)
    assert patient_key("\x001.2.3", SECRET) not in hashed_uid("1.2.3", SECRET)


def test_other_patients_and_other_secrets_give_other_keys() -> None:
    keys = {
        patient_key("4711", SECRET),
        patient_key("4712", SECRET),
        patient_key("4711", b"x" * 16),
    }
    assert len(keys) == 3


@pytest.mark.parametrize("patient", ["", "  ", "^^^", "\0", " ^ "])
def test_an_empty_patient_id_has_no_key(patient: str) -> None:
    with pytest.raises(UsageError):
        patient_key(patient, SECRET)


def test_the_variable_wins_over_the_file_and_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "patient.key"
    assert load_patient_key({"CXR_PATIENT_KEY": "a" * 16, **at(path)}) == b"a" * 16
    assert not path.exists()


def test_the_file_is_made_once_and_then_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "patient.key"
    first = load_patient_key(at(path))
    assert (len(first), load_patient_key(at(path))) == (64, first)
    assert [p.name for p in path.parent.iterdir()] == ["patient.key"]


def test_two_sites_have_two_keys(tmp_path: Path) -> None:
    assert load_patient_key(at(tmp_path / "a")) != load_patient_key(at(tmp_path / "b"))


@posix
def test_nobody_else_can_read_the_file_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_patient_key(at(tmp_path / "patient.key"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "patient.key").stat().st_mode) == 0o600


@posix
def test_a_file_that_others_can_read_is_refused_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "patient.key"
    load_patient_key(at(path))
    path.chmod(0o640)
    with pytest.raises(UsageError, match=f"chmod 600 {path}"):
        load_patient_key(at(path))


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    code = "from cxrclient.archive.identity import load_patient_key; print(load_patient_key())"
    environment = {**os.environ, **at(tmp_path / "patient.key")}
    environment.pop("CXR_PATIENT_KEY", None)
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    assert len({process.communicate()[0] for process in running}) == 1


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff\xfe" * 20])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "patient.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UsageError):
        load_patient_key(at(path))


def test_a_short_secret_is_refused_without_showing_it() -> None:
    with pytest.raises(UsageError) as caught:
        load_patient_key({"CXR_PATIENT_KEY": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_named_with_the_way_round(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Set CXR_PATIENT_KEY"):
        load_patient_key(at(tmp_path / "file" / "patient.key"))
