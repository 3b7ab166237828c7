"""Patients in the archive: keyed hashes that tell films of one patient together, never who it is.

A plain hash of a patient number is no secret (all numbers can be tried in seconds), so it is an
HMAC. The key stays with the site: in `CXR_PATIENT_KEY`, or in a file made on first use.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

from cxrclient.errors import UsageError
from cxrclient.files import hmac_sha256_of, open_regular, write_new

KEY_VARIABLE = "CXR_PATIENT_KEY"
KEY_FILE_VARIABLE = "CXR_PATIENT_KEY_FILE"
MIN_KEY_CHARACTERS = 16
_MOST_KEY_BYTES = 1 << 16

HASHED_UID = "h:"
"""What a hashed UID starts with in the archive; no UID and no digest of a file does."""

# An HL7 identifier (CX) in the place of the plain number, as some gateways write it:
# number, no check digit, its scheme or none, authority. Source: HL7 v2.5.1, 2.A.14.
_HL7_IDENTIFIER = re.compile(r"([^^]*)\^\^\^([^^]*)(?:\^[^^]*)*")


def patient_key(patient_id: str, key: bytes, issuer: str | None = None) -> str:
    """What stands for a patient in the archive: HMAC-SHA-256 in hex, 64 digits.

    Two hospitals may give one number to two people, so who issued it is hashed with it, where the
    film says who did. How the number was written does not matter: blanks around it (DICOM pads),
    the composition of its letters (é as one or as two), an HL7 identifier `4711^^^HOSPITAL`.

    Args:
        patient_id: as the film or the metadata has it.
        key: from `load_patient_key`. Another key gives the same patient another name.
        issuer: (0010,0021); None or blank where the film does not say.

    Raises:
        UsageError: the patient id is empty; films without one have no patient key.
    """
    number, authority = _plain(patient_id)
    if not number:
        raise UsageError("The patient id is empty.")
    authority = _trimmed(issuer or "") or authority
    return _keyed(f"{number}\0{authority}" if authority else number, key)


def names_somebody(patient_id: str | None) -> TypeGuard[str]:
    """Whether a patient id is more than blanks and separators."""
    return bool(patient_id and _plain(patient_id)[0])


def same_patient_id(one: str, other: str) -> bool:
    """Whether two patient ids differ in how they are written only."""
    return _plain(one)[0] == _plain(other)[0] != ""


def hashed_uid(uid: str, key: bytes) -> str:
    """What stands for a UID (or the digest of a file) that must not be in the archive itself.

    The same film has the same one each time, under one key, so it is found again; nobody without
    the key can look it up elsewhere. What is hashed already comes back as it is.
    """
    if uid.startswith(HASHED_UID):
        return uid
    # A patient's number holds no NUL, so no patient key is ever that of a UID.
    return HASHED_UID + _keyed(f"\0{uid}", key)


def archive_id(film_id: str, uid_key: bytes | None) -> str:
    """A film's id in an archive; hashed where there is a key of hashed UIDs."""
    return film_id if uid_key is None else hashed_uid(film_id, uid_key)


def key_check(key: bytes) -> str:
    """What an archive keeps, to know its key again: as little of a secret as a patient's key."""
    # Two NULs: this is the key of no patient, and the hash of no UID.
    return _keyed("\0\0the key of this archive", key)[:16]


def _keyed(text: str, key: bytes) -> str:
    return hmac_sha256_of(text.encode("utf-8", "surrogatepass"), key)


def _plain(patient_id: str) -> tuple[str, str]:
    """The number as it is compared, and the authority that an HL7 identifier names."""
    text = _trimmed(patient_id)
    if composed := _HL7_IDENTIFIER.fullmatch(text):
        return composed[1].strip(), composed[2].strip()
    return text.rstrip("^ "), ""


def _trimmed(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\0", "")).strip()


def load_patient_key(environ: Mapping[str, str] | None = None, *, make: bool = True) -> bytes:
    """The site's key: `CXR_PATIENT_KEY`, or the key file, made (mode 0600) where there is none.

    The file is `CXR_PATIENT_KEY_FILE`, or `patient_key_file` of the configuration file, or
    `patient.key` in the user's configuration folder. Keep a copy: without it, the patients of an
    archive cannot be recognised again.

    Args:
        environ: instead of the process's and the configuration file.
        make: a key where there is none; False where only the key that filled an archive will do.

    Raises:
        UsageError: the key is too short, or its file is not private, not readable or not writable;
            there is none and none may be made.
    """
    environ = _environment() if environ is None else environ
    if KEY_VARIABLE in environ:
        return _checked(environ[KEY_VARIABLE], f"The key in {KEY_VARIABLE}")
    path = _key_file(environ)
    try:
        if not path.exists():
            if not make:
                raise UsageError(
                    f"There is no patient key at {path}. Give the one that this archive was "
                    f"filled with: {KEY_VARIABLE}, or the file in {KEY_FILE_VARIABLE}."
                )
            _make(path)
        with open_regular(path) as file:
            if os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise UsageError(
                    f"The patient key {path} can be read by others. Run: chmod 600 {path}"
                )
            key = file.read(_MOST_KEY_BYTES)
            if file.read(1):
                raise UnicodeError
        return _checked(key.decode("ascii").strip(), f"The key in {path}")
    except UnicodeError as error:
        raise UsageError(
            f"{path} is no patient key. If you move it away, a new one is made."
        ) from error
    except OSError as error:
        raise UsageError(
            f"The patient key {path} cannot be read or made ({error.strerror}). Set {KEY_VARIABLE} "
            f"to a secret of your own, or {KEY_FILE_VARIABLE} to a place that can be written."
        ) from error


def patient_key_place() -> Path | str:
    """Where the site's key is: its file, or the name of the variable that holds it."""
    environ = _environment()
    return KEY_VARIABLE if KEY_VARIABLE in environ else _key_file(environ)


def _environment() -> Mapping[str, str]:
    """The process's, with the key file that the configuration file names."""
    from cxrclient.settings import ArchiveSettings

    named = ArchiveSettings().patient_key_file
    return os.environ if named is None else {**os.environ, KEY_FILE_VARIABLE: named}


def _key_file(environ: Mapping[str, str]) -> Path:
    if given := environ.get(KEY_FILE_VARIABLE):
        return Path(given)
    from platformdirs import user_config_path

    return user_config_path("cxr-triton") / "patient.key"


def _make(path: Path) -> None:
    """Write a new key; where two processes do so at once, the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_new(path, secrets.token_hex(32) + "\n")


def _checked(key: str, what: str) -> bytes:
    if len(key) < MIN_KEY_CHARACTERS:
        raise UsageError(f"{what} has {len(key)} characters; a secret needs {MIN_KEY_CHARACTERS}.")
    return key.encode("utf-8", "surrogateescape")
