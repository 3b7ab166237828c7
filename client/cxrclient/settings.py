"""The environment, read once at the edge of the process, and the defaults.

`CXR_SERVER`, `CXR_SERVER_TLS_CA`, `CXR_JOBS` and the like stand in for options that are not given.
`CXR_ADMIN_KEY` has no option: every user of a machine reads a command's options.
"""

from __future__ import annotations

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cxrclient.errors import UsageError

DEFAULT_ADDRESS = "localhost:8001"
DEFAULT_JOBS = 8
DEFAULT_TIMEOUT_S = 120.0


class ClientSettings(BaseSettings):
    """How to reach a server."""

    model_config = SettingsConfigDict(env_prefix="CXR_", frozen=True)

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


class ServerSettings(BaseSettings):
    """What a server is given that is in no option.

    Attributes:
        admin_key: opens Triton's administration to who sends it; None, or blank, keeps it closed.
    """

    model_config = SettingsConfigDict(env_prefix="CXR_", frozen=True)

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
    """Options where they are given, else the environment, else the defaults.

    Args:
        server: HOST:PORT, or grpcs://HOST:PORT.
        jobs: films in flight at most.
        timeout_s: for a film's answer.
        retry_for_s: for a film that failed for the server's sake.
        secured: `server_tls_ca` and the like.

    Raises:
        UsageError: a value is out of range; names it.
    """
    given: dict[str, object] = {
        "server": server,
        "jobs": jobs,
        "timeout_s": timeout_s,
        "retry_for_s": retry_for_s,
    }
    given |= secured
    try:
        return ClientSettings(
            **{name: value for name, value in given.items() if value is not None}  # type: ignore[arg-type]
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise UsageError(
            f"{name} (option, or CXR_{name.upper()} in the environment): {first['msg']}."
        ) from error
