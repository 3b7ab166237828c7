"""TLS, mutual TLS and token between the client and a real Triton server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tiny_repository
from cxrclient import (
    AccessDenied,
    CxrClient,
    Endpoint,
    Prediction,
    ServerUnreachable,
    Tls,
    TlsFailed,
    UsageError,
)
from cxrclient.cli.app import app
from cxrclient.serving.embedded import EmbeddedServer

TOKEN = "a token of forty letters, digits or both".replace(" ", "-").replace(",", "")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repository.write(tmp_path_factory.mktemp("tls") / "tiny")


def pair(certificates: Path, name: str, ca: str | None = "ca") -> Tls:
    authority = None if ca is None else certificates / f"{ca}.pem"
    return Tls(authority, certificates / f"{name}.pem", certificates / f"{name}.key")


@pytest.fixture(scope="module")
def mutual(model_repository: Path, certificates: Path) -> Iterator[EmbeddedServer]:
    """The real ensemble, for clients with a certificate of `ca` and the token."""
    tls = pair(certificates, "server")
    with EmbeddedServer(model_repository, device="cpu", tls=tls, token=TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def with_tls(tiny: Path, certificates: Path) -> Iterator[Callable[[str], EmbeddedServer]]:
    """Servers over TLS for everybody, by the name of their certificate; each starts once."""
    started: dict[str, EmbeddedServer] = {}

    def server(name: str) -> EmbeddedServer:
        if name not in started:
            started[name] = EmbeddedServer(tiny, device="cpu", tls=pair(certificates, name, None))
            started[name].__enter__()
        return started[name]

    yield server
    for each in started.values():
        each.stop()


def test_a_film_goes_over_mutual_tls_with_a_token(
    mutual: EmbeddedServer, certificates: Path, films: list[Path]
) -> None:
    endpoint = Endpoint(mutual.grpc_address, pair(certificates, "client"), TOKEN)
    with CxrClient(endpoint) as cxr:
        assert isinstance(cxr.predict(films[0]), Prediction)


@pytest.mark.parametrize(
    ("name", "token", "why"),
    [
        (None, TOKEN, "asks for a certificate of yours .*tls.certificate"),
        ("stranger", TOKEN, r"refuses the certificate .*stranger\.pem"),
        ("client", None, "asks for a token.*`token`"),
        ("client", "another", "refuses the token"),
    ],
)
def test_who_lacks_certificate_or_token_is_told_which(
    name: str | None, token: str | None, why: str, mutual: EmbeddedServer, certificates: Path
) -> None:
    tls = Tls(certificates / "ca.pem") if name is None else pair(certificates, name)
    with pytest.raises(AccessDenied, match=why):
        CxrClient(Endpoint(mutual.grpc_address, tls, token))


@pytest.mark.parametrize(
    "method",
    [
        "inference.GRPCInferenceService/ServerLive",
        "inference.GRPCInferenceService/ServerMetadata",
        "inference.GRPCInferenceService/ModelConfig",
        "inference.GRPCInferenceService/ModelStatistics",
        "inference.GRPCInferenceService/ModelInfer",
        "grpc.health.v1.Health/Check",
    ],
)
def test_without_the_token_nothing_is_told_over_grpc_either(
    method: str, mutual: EmbeddedServer, certificates: Path
) -> None:
    import grpc

    credentials = pair(certificates, "client").credentials()
    with (
        grpc.secure_channel(mutual.grpc_address, credentials) as channel,
        pytest.raises(grpc.RpcError, match="restricted"),
    ):
        channel.unary_unary(f"/{method}")(b"", timeout=600)


def test_films_over_http_need_the_token_too(mutual: EmbeddedServer) -> None:
    import tritonclient.http
    from tritonclient.utils import InferenceServerException

    client = tritonclient.http.InferenceServerClient(mutual.http_address)
    image = tritonclient.http.InferInput("IMAGE", [1, 1], "BYTES")
    with pytest.raises(InferenceServerException, match="403"):
        client.infer("cxr", [image])
    client.close()


@pytest.mark.parametrize(
    ("name", "tls", "why"),
    [
        ("server", {"ca": "unknown.pem"}, r"not trusted \(.*\).*tls\.ca"),
        ("server", {}, r"not trusted \(.*\).*tls\.ca"),
        ("server", None, "speaks TLS only. Write grpcs://"),
        ("elsewhere", {"ca": "ca.pem"}, r"not for the name 127\.0\.0\.1.*tls\.server_name"),
        ("expired", {"ca": "ca.pem"}, "has expired"),
    ],
)
def test_what_is_wrong_with_a_servers_certificate_is_said(
    name: str,
    tls: dict[str, str] | None,
    why: str,
    with_tls: Callable[[str], EmbeddedServer],
    certificates: Path,
) -> None:
    files = None if tls is None else Tls(**{key: certificates / of for key, of in tls.items()})
    with pytest.raises(TlsFailed, match=why) as raised:
        CxrClient(Endpoint(with_tls(name).grpc_address, files))
    assert "No server answers" not in raised.value.message
    assert not raised.value.retriable


def test_the_name_in_the_certificate_may_be_given(
    with_tls: Callable[[str], EmbeddedServer], certificates: Path
) -> None:
    tls = Tls(certificates / "ca.pem", server_name="elsewhere.invalid")
    with CxrClient(Endpoint(with_tls("elsewhere").grpc_address, tls)) as cxr:
        assert cxr.model.name == "tiny"


def test_without_an_authority_of_ours_those_of_grpc_are_trusted(
    with_tls: Callable[[str], EmbeddedServer], certificates: Path
) -> None:
    """In a process of its own: gRPC reads the variable once."""
    address = with_tls("server").grpc_address
    code = f"from cxrclient import CxrClient; print(CxrClient('grpcs://{address}').model.name)"
    trusted = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificates / "ca.pem")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **trusted},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "tiny\n", done.stderr


def test_a_server_without_tls_is_not_asked_for_it_again_and_again(
    triton_server: Any, certificates: Path
) -> None:
    with pytest.raises(TlsFailed, match="does not speak TLS"):
        CxrClient(Endpoint(triton_server.grpc_address, Tls(certificates / "ca.pem")))


def test_nobody_behind_an_address_over_tls_is_still_nobody(
    free_address: str, certificates: Path
) -> None:
    with pytest.raises(ServerUnreachable, match="No server answers at grpcs://"):
        CxrClient(Endpoint(f"grpcs://{free_address}", Tls(certificates / "ca.pem")))


@pytest.mark.parametrize("how", ["options", "environment"])
def test_commands_take_certificates_and_token_as_options_or_from_the_environment(
    how: str, mutual: EmbeddedServer, certificates: Path, films: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    told = {
        "server": f"grpcs://{mutual.grpc_address}",
        "server-tls-ca": certificates / "ca.pem",
        "server-tls-cert": certificates / "client.pem",
        "server-tls-key": certificates / "client.key",
        "server-token-file": tmp_path / "token",
    }
    options = [str(each) for key, value in told.items() for each in (f"--{key}", value)]
    names = {f"CXR_{key.upper().replace('-', '_')}": str(value) for key, value in told.items()}
    given, environment = (options, {}) if how == "options" else ([], names)
    summary = tmp_path / "summary.json"
    done = CliRunner().invoke(
        app,
        ["predict", str(films[0]), "--format", "jsonl", "--summary", str(summary), *given],
        env=environment,
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["status"] == "ok"
    assert TOKEN not in summary.read_text() + done.output

    checked = CliRunner().invoke(app, ["doctor", "--format", "json", *given], env=environment)
    found = {each["subject"]: each["verdict"] for each in json.loads(checked.stdout)["checks"]}
    assert found[f"steps of grpcs://{mutual.grpc_address}"] == "ok", checked.output


@pytest.mark.parametrize(
    ("address", "tls", "token", "why"),
    [
        ("grpcs://host", None, "two words", "printable ASCII"),
        ("host:8001", None, "token", "Without TLS, others can read the token"),
        ("grpc://host", Tls(__file__), None, "without TLS"),
        ("host", Tls("nowhere.pem"), None, "nowhere.pem is no file"),
        ("host", Tls(__file__), None, "no certificate in PEM"),
        ("host", Tls(certificate=__file__), None, "Give both"),
        ("host", Tls(certificate=__file__, key=__file__), None, "no certificate and its private"),
        ("http://host", None, None, "grpcs://HOST:PORT"),
    ],
)
def test_what_cannot_do_is_found_before_anything_is_opened(
    address: str, tls: Tls | None, token: str | None, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        Endpoint(address, tls, token)


def test_a_token_on_this_machine_needs_no_tls_and_is_shown_nowhere() -> None:
    endpoint = Endpoint("localhost", token=TOKEN)
    assert str(endpoint) == "localhost:8001"
    assert TOKEN not in repr(endpoint)
    assert ("authorization", f"Bearer {TOKEN}") in endpoint.headers


@pytest.mark.parametrize("content", [None, "", "two words", "ümlaut"])
def test_a_file_without_a_token_is_named(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    done = CliRunner().invoke(app, ["doctor", "--server-token-file", str(path)])
    assert (done.exit_code, "token: " in done.output or str(path) in done.output) == (2, True)
