"""What `cxrclient serve` says of what it opens (test_exposure.py has the rest)."""

from __future__ import annotations

import http.client
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrclient import CxrClient, Endpoint, Tls
from cxrclient.cli.app import app
from served import FREE_PORTS, Serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")


def test_what_other_machines_can_reach_is_said_on_stderr(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    serving = serve(tiny_repository, "--host", "0.0.0.0", "--metrics-host", "0.0.0.0")
    line = serving.wait_ready()
    serving.process.terminate()
    loading, opened, holes, stopped = serving.error().splitlines()

    ports = re.search(r"gRPC 127\.0\.0\.1:(\d+), .* metrics 127\.0\.0\.1:(\d+);", line)
    assert ports is not None
    reach = f"Open to other machines: gRPC 0.0.0.0:{ports[1]}, metrics 0.0.0.0:{ports[2]}. "
    assert opened.startswith(reach)
    assert "Nothing is encrypted" in opened
    assert re.match(r"Triton 2\.\d+\.\d+ has known holes, which 2\d\.\d\d fixes: .*CVE-", holes)
    assert loading.startswith("Loading ")
    assert stopped == "Stopped."


def test_who_gets_in_over_tls_with_a_token_is_said_too(
    tiny_repository: Path, serve: Callable[..., Serving], certificates: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    options = ["--server-tls-cert", certificates / "server.pem", "--server-token-file", token]
    options += ["--server-tls-key", certificates / "server.key"]
    options += ["--server-tls-ca", certificates / "ca.pem"]
    serving = serve(tiny_repository, "--host", "0.0.0.0", *map(str, options))
    line = serving.wait_ready()
    port = re.search(r"gRPC 127\.0\.0\.1:(\d+) over TLS, HTTP", line)
    assert port is not None, line
    tls = Tls(certificates / "ca.pem", certificates / "client.pem", certificates / "client.key")
    with CxrClient(Endpoint(f"127.0.0.1:{port[1]}", tls, "0123456789abcdef")) as cxr:
        assert cxr.model.name == "tiny"
    serving.process.terminate()
    said = serving.error()
    assert "gRPC is encrypted, and who has a certificate and the token may send films." in said
    assert "takes films only with the token, and over HTTP answers health" in said
    assert "every user of this machine can read it" in said
    assert "0123456789abcdef" not in line + said


@pytest.mark.parametrize(
    ("option", "why"),
    [("--server-tls-cert", "both"), ("--server-tls-ca", "both"), ("--server-token-file", "token")],
)
def test_half_of_what_tls_needs_is_found_before_a_server_is_started(
    option: str, why: str, tiny_repository: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    arguments = ["serve", "--model-repository", tiny_repository, *FREE_PORTS, option, empty]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert (done.exit_code, why in done.stderr) == (2, True), done.output


def test_a_server_that_nobody_else_reaches_has_nothing_to_say(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    serving = serve(tiny_repository)
    serving.wait_ready()
    serving.process.terminate()
    loading, stopped = serving.error().splitlines()
    assert loading.startswith("Loading ")
    assert stopped == "Stopped."


def test_the_admin_key_is_the_environments_and_is_said_to_be_no_secret(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    serving = serve(tiny_repository, CXR_ADMIN_KEY="of the operator")
    address = re.search(r"HTTP (127\.0\.0\.1):(\d+)", serving.wait_ready())
    assert address is not None
    answers = []
    for headers in ({}, {"cxr-admin-key": "of the operator"}):
        connection = http.client.HTTPConnection(address[1], int(address[2]), timeout=600)
        connection.request("POST", "/v2/repository/index", headers=headers)
        answers.append(connection.getresponse().status)
    serving.process.terminate()

    assert answers == [403, 200]
    assert "every user of this machine can read it" in serving.error()
