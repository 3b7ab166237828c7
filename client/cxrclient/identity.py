"""Patients in the archive: keyed hashes that tell films of one patient together, never who it is.

A plain hash of a patient number is no secret (all numbers can be tried in seconds), so it is an
HMAC. The key stays with the site: in `CXR_PATIENT_KEY`, or in a file made on first use.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from cxrclient.errors import UsageError

__all__ = ["KEY_FILE_VARIABLE", "KEY_VARIABLE", "load_patient_key", "patient_key"]

KEY_VARIABLE = "CXR_PATIENT_KEY"
KEY_FILE_VARIABLE = "CXR_PATIENT_KEY_FILE"
MIN_KEY_CHARACTERS = 16
# 128 bits: two of a billion patients share a key with a chance of 1e-21.
_KEY_HEX_DIGITS = 32


def patient_key(patient_id: str, key: bytes) -> str:
    """What stands for a patient in the archive: HMAC-SHA-256 in hex, the first 128 bits.

    Args:
        patient_id: as the film or the metadata has it; blanks around it (DICOM pads) do not count.
        key: from `load_patient_key`. Another key gives the same patient another name.

    Raises:
        UsageError: the patient id is empty; films without one have no patient key.
    """
    patient_id = patient_id.strip()
    if not patient_id:
        raise UsageError("An empty patient id stands for nobody.")
    digest = hmac.new(key, patient_id.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return digest.hexdigest()[:_KEY_HEX_DIGITS]


def load_patient_key(environ: Mapping[str, str] | None = None) -> bytes:
    """The site's key: `CXR_PATIENT_KEY`, or the key file, made (mode 0600) where there is none.

    The file is `CXR_PATIENT_KEY_FILE`, or `patient.key` in the user's configuration folder. Keep a
    copy: without it, the patients of an archive cannot be recognised again.

    Raises:
        UsageError: the key is too short, or its file is not private, not readable or not writable.
    """
    environ = os.environ if environ is None else environ
    if KEY_VARIABLE in environ:
        return _checked(environ[KEY_VARIABLE], f"The key in {KEY_VARIABLE}")
    path = _key_file(environ)
    try:
        if not path.exists():
            _make(path)
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"The patient key {path} can be read by others. Run: chmod 600 {path}")
        return _checked(path.read_text(encoding="ascii").strip(), f"The key in {path}")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is no patient key. Move it away, and a new one is made."
        ) from error
    except OSError as error:
        raise UsageError(
            f"The patient key {path} cannot be read or made ({error.strerror}). Set {KEY_VARIABLE} "
            f"to a secret of your own, or {KEY_FILE_VARIABLE} to a place that can be written."
        ) from error


def _key_file(environ: Mapping[str, str]) -> Path:
    if given := environ.get(KEY_FILE_VARIABLE):
        return Path(given)
    from platformdirs import user_config_path

    return user_config_path("cxr-triton") / "patient.key"


def _make(path: Path) -> None:
    """Write a new key; where two processes do so at once, the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)  # whole or not at all, and never over another
    finally:
        partial.unlink()


def _checked(key: str, what: str) -> bytes:
    if len(key) < MIN_KEY_CHARACTERS:
        raise UsageError(f"{what} has {len(key)} characters; a secret needs {MIN_KEY_CHARACTERS}.")
    return key.encode("utf-8", "surrogateescape")
