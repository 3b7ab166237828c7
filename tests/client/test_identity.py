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

from cxrclient.errors import UsageError
from cxrclient.identity import load_patient_key, patient_key

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
SECRET = b"0123456789abcdef"


def at(path: Path) -> dict[str, str]:
    return {"CXR_PATIENT_KEY_FILE": str(path)}


def test_the_key_is_the_first_128_bits_of_hmac_sha_256() -> None:
    expected = hmac.new(SECRET, b"4711", hashlib.sha256).hexdigest()
    assert patient_key("4711", SECRET) == expected[:32]


def test_blanks_around_a_patient_id_do_not_make_another_patient() -> None:
    assert patient_key(" 4711 ", SECRET) == patient_key("4711", SECRET)


def test_other_patients_and_other_secrets_give_other_keys() -> None:
    keys = {
        patient_key("4711", SECRET),
        patient_key("4712", SECRET),
        patient_key("4711", b"x" * 16),
    }
    assert len(keys) == 3


@pytest.mark.parametrize("patient", ["", "  "])
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
    code = "from cxrclient.identity import load_patient_key; print(load_patient_key())"
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
