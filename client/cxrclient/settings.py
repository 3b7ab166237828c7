"""Options that are not given: from the environment, else from a file, else the defaults.

`CXR_SERVER`, `CXR_JOBS` and the like stand in for options, and the keys `server` and `jobs` of the
configuration file for these variables. Secrets (`CXR_ADMIN_KEY`, `CXR_PATIENT_KEY`,
`CXR_MILVUS_TOKEN`) are in no file that people copy.
"""

from __future__ import annotations

import logging
import os
import tomllib
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cxrclient.errors import UsageError

_log = logging.getLogger(__name__)

DEFAULT_ADDRESS = "localhost:8001"
DEFAULT_JOBS = 8
DEFAULT_TIMEOUT_S = 120.0
CONFIG_VARIABLE = "CXR_CONFIG"
"""Names the configuration file; empty: there is none."""


def config_file() -> Path | None:
    """Where the configuration file is; None where there is none.

    Raises:
        UsageError: `CXR_CONFIG` names a file that is not there.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named == "":
        return None
    if named is None:
        from platformdirs import user_config_path

        usual = user_config_path("cxr-triton") / "config.toml"
        return usual if usual.is_file() else None
    if not Path(named).is_file():
        raise UsageError(
            f"{CONFIG_VARIABLE} names {named}, which is no file. Name another, or unset it."
        )
    return Path(named)


def read_config() -> dict[str, object]:
    """Read the configuration file; nothing where there is none.

    Raises:
        UsageError: it cannot be read, or has a key that nobody knows; names file and key.
    """
    path = config_file()
    if path is None:
        return {}
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as TOML ({error}).") from error
    _log.debug("configuration file %s", path)
    known = [*ClientSettings.model_fields, *ArchiveSettings.model_fields]
    for key in told:
        if key not in known:
            near = get_close_matches(key, known, 1, cutoff=0.0)
            raise UsageError(f"{path} has an unknown key: {key}. The nearest is {near[0]}.")
    return told


class _Settings(BaseModel):
    """What is given, else the variable `CXR_NAME`, else the file's key, else the default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **given: object) -> None:
        """Gather the values.

        Args:
            given: by options; None is not given.

        Raises:
            UsageError: a value is out of range; says where it may come from.
        """
        told = read_config()
        for name in type(self).model_fields:
            if (value := os.environ.get(_variable(name))) is not None:
                told[name] = value
        told |= {name: value for name, value in given.items() if value is not None}
        try:
            super().__init__(
                **{name: told[name] for name in type(self).model_fields if name in told}
            )
        except ValidationError as error:
            first = error.errors()[0]
            name, file = str(first["loc"][0]), config_file()
            also = f", or the key in {file}" if file else ""
            raise UsageError(
                f"{name} (option, {_variable(name)} in the environment{also}): {first['msg']}."
            ) from error


def _variable(name: str) -> str:
    return f"CXR_{name.upper()}"


class ClientSettings(_Settings):
    """How to reach a server."""

    server: str = DEFAULT_ADDRESS
    # Of a server over TLS, or that asks for a token: files, so that nothing here is secret.
    server_tls_ca: str | None = None
    server_tls_cert: str | None = None
    server_tls_key: str | None = None
    server_tls_name: str | None = None
    server_token_file: str | None = None
    jobs: int = Field(default=DEFAULT_JOBS, ge=1)
    timeout_s: float = Field(default=DEFAULT_TIMEOUT_S, gt=0, allow_inf_nan=False)
    # For runs: a person who asks for one film wants to know at once that there is no server.
    retry_for_s: float = Field(default=120.0, ge=0, allow_inf_nan=False)


class ArchiveSettings(_Settings):
    """How to reach an archive, and where the key of its patients is."""

    milvus_tls_ca: Path | None = None
    milvus_tls_cert: Path | None = None
    milvus_tls_key: Path | None = None
    milvus_tls_name: str | None = None
    patient_key_file: str | None = None


class ServerSettings(_Settings):
    """What a server is given that is in no option.

    Attributes:
        admin_key: opens Triton's administration to who sends it; None, or blank, keeps it closed.
    """

    admin_key: str | None = None

    @field_validator("admin_key")
    @classmethod
    def _none_where_blank(cls, key: str | None) -> str | None:
        return key if key and key.strip() else None


def client_settings(
    server: str | None = None,
    jobs: int | None = None,
    timeout_s: float | None = None,
    retry_for_s: float | None = None,
    **secured: str | None,
) -> ClientSettings:
    """Options where they are given, else the environment, else the file, else the defaults.

    Args:
        server: HOST:PORT, or grpcs://HOST:PORT.
        jobs: films in flight at most.
        timeout_s: for a film's answer.
        retry_for_s: for a film that failed for the server's sake.
        secured: `server_tls_ca` and the like.

    Raises:
        UsageError: a value is out of range, or the file cannot be used; names it.
    """
    return ClientSettings(
        server=server, jobs=jobs, timeout_s=timeout_s, retry_for_s=retry_for_s, **secured
    )
