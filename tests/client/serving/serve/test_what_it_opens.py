"""What `cxrclient serve` says of what it opens (test_exposure.py has the rest)."""

from __future__ import annotations

import http.client
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from served import Serving

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
