"""What a server opens to others, asked for by an attacker who has read its key in /proc."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput

import closed_apis
import tiny_repository
from closed_apis import GRPC, HTTP, literal
from cxrclient.serving.embedded import EmbeddedServer
from cxrclient.settings import ServerSettings
from waiting import eventually

ROOT = Path(__file__).parents[3]
ADMIN_KEY = "the operator's own key"
PREFIX = b"triton-grpc-protocol-"
RESERVED = "triton_python_backend_shm_region_"
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repository.write(tmp_path_factory.mktemp("exposure") / "tiny")


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[EmbeddedServer]:
    """A server as it is by default."""
    with EmbeddedServer(repository, device="cpu") as server:
        yield server


@pytest.fixture(scope="module")
def keyed(repository: Path) -> Iterator[EmbeddedServer]:
    """A server whose operator has a key."""
    with EmbeddedServer(repository, device="cpu", admin_key=ADMIN_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def asked(server: EmbeddedServer) -> dict[str, tuple[bytes, bytes]]:
    """The header and value that the server asks for, by protocol, out of /proc."""
    found = closed_apis.restricted_by(tritonserver(server).pid)
    return {name: (header.encode(), value.encode()) for name, (header, value) in found.items()}


def processes(server: EmbeddedServer) -> list[psutil.Process]:
    """The supervisor of a server, Triton, and its stubs."""
    supervisor = psutil.Process(server._process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def tritonserver(server: EmbeddedServer) -> psutil.Process:
    return next(each for each in processes(server) if each.name() == "tritonserver")


def regions(server: EmbeddedServer) -> list[Path]:
    token = server._runtime.path.name
    return [path for path in SHARED_MEMORY.iterdir() if token in path.name]


def get(server: EmbeddedServer, path: str) -> int:
    connection = http.client.HTTPConnection(server.http_address, timeout=600)
    connection.request("GET", path)
    return connection.getresponse().status


# --- closed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", GRPC)
def test_what_administers_a_server_is_refused_over_grpc(server, asked, method):
    header, value = asked["grpc"]

    assert closed_apis.grpc(server.grpc_port, method) == "restricted"
    exact = literal(PREFIX + header, value)
    assert closed_apis.grpc(server.grpc_port, method, exact) == "broken off"
    assert closed_apis.grpc(server.grpc_port, "RepositoryIndex") == "restricted"  # it lives


@pytest.mark.parametrize("call", HTTP)
def test_what_administers_a_server_is_refused_over_http(server, asked, call):
    header, value = asked["http"]

    assert closed_apis.http(server.http_port, call) == 403
    exact = header + b": " + value
    assert closed_apis.http(server.http_port, call, exact) in (None, 400)
    assert get(server, "/v2/health/ready") == 200


@pytest.mark.parametrize(
    "line_end",
    [b"\n", b"\r\n", b"\r", b"\r\n ", b"\r\n\t", b"\n ", b"\n\t", b"%0A", b"\\n", b"\0", b" ", b""],
)
@pytest.mark.parametrize("colon", [b": ", b":"])
def test_no_way_to_write_the_line_end_opens_http(server, asked, line_end, colon):
    header, value = asked["http"]
    written = header.replace(b"\n", line_end) + colon + value

    assert closed_apis.http(server.http_port, "POST /v2/repository/index", written) != 200


def test_no_way_to_write_the_line_end_opens_grpc(server, asked):
    header, value = asked["grpc"]
    name = PREFIX + header
    in_the_table, named_by_it, never_in_it = 0x40, 0x0F, 0x10
    ways = {
        "in the table of headers": [literal(name, value, in_the_table), b"\xbe"],
        "its name in the table": [
            literal(name, value, in_the_table),
            bytes([named_by_it, 62 - 15, len(value) % 128]) + value,
        ],
        "never in the table": [literal(name, value, never_in_it)],
        "as binary metadata": [literal(name + b"-bin", value)],
        "in capitals": [literal(name.upper(), value)],
        "percent-encoded": [literal(name.replace(b"\n", b"%0a").replace(b" ", b"%20"), value)],
        "left out": [literal(name.replace(b"\n", b"").replace(b" ", b""), value)],
        "by the part before it": [literal(name.split(b" ")[0], value)],
    }

    outcomes = {
        way: closed_apis.grpc(server.grpc_port, "RepositoryIndex", *headers)
        for way, headers in ways.items()
    }
    assert set(outcomes.values()) <= {"restricted", "broken off"}, outcomes


def test_the_operators_key_opens_what_is_closed(keyed):
    found = closed_apis.restricted_by(tritonserver(keyed).pid)
    index = "POST /v2/repository/index"
    over_grpc = literal(PREFIX + b"cxr-admin-key", ADMIN_KEY.encode())

    assert found["http"] == found["grpc"] == ("cxr-admin-key", ADMIN_KEY)
    assert closed_apis.http(keyed.http_port, index) == 403
    assert closed_apis.http(keyed.http_port, index, f"cxr-admin-key: {ADMIN_KEY}".encode()) == 200
    assert closed_apis.grpc(keyed.grpc_port, "RepositoryIndex") == "restricted"
    assert closed_apis.grpc(keyed.grpc_port, "RepositoryIndex", over_grpc) == "answered"


def test_a_line_end_in_the_value_alone_would_keep_nobody_out_of_grpc(repository):
    # Why the header's name has it. The day that this fails, exposure.py's comment is out of date.
    key = "two\nlines"
    header = literal(PREFIX + b"cxr-admin-key", key.encode())
    with EmbeddedServer(repository, device="cpu", admin_key=key) as server:
        assert closed_apis.grpc(server.grpc_port, "RepositoryIndex", header) == "answered"


# --- open -----------------------------------------------------------------------------------------


def test_health_metadata_configuration_statistics_and_inference_stay_open(server):
    films = np.arange(4, dtype=np.float32).reshape(1, 4)
    tensor = InferInput("X", [1, 4], "FP32")
    tensor.set_data_from_numpy(films)
    client = InferenceServerClient(server.grpc_address)

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("cxr")
    assert client.get_server_metadata().name == "triton"
    assert client.get_model_metadata("cxr").name == "cxr"
    assert client.get_model_config("cxr").config.name == "cxr"
    assert (client.infer("cxr", [tensor]).as_numpy("Y") == films).all()
    # Triton answers first and counts then.
    eventually(lambda: client.get_inference_statistics("cxr").model_stats[0].inference_count)
    for path in ("", "/health/live", "/health/ready", "/models/cxr", "/models/cxr/ready",
                 "/models/cxr/config", "/models/cxr/stats", "/models/stats"):  # fmt: skip
        assert get(server, f"/v2{path}") == 200, path
    connection = http.client.HTTPConnection(server.http_address, timeout=600)
    inputs = [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [0, 1, 2, 3]}]
    connection.request("POST", "/v2/models/cxr/infer", json.dumps({"inputs": inputs}))
    assert json.loads(connection.getresponse().read())["outputs"][0]["data"] == [0, 1, 2, 3]


def test_the_client_learns_of_models_without_the_closed_index(server):
    from cxrclient.wire.connection import Connection, ServedModel

    async def ask():
        line = Connection(server.grpc_address)
        try:
            return await line.models(["identity", "nowhere"])
        finally:
            await line.close()

    version, models = asyncio.run(ask())
    assert version
    assert models == {"identity": ServedModel("openvino", ready=True)}


# --- what listens where ---------------------------------------------------------------------------


def listening(server: EmbeddedServer) -> dict[int, str]:
    """Address by port, of all that Triton and its stubs listen on.

    gRPC takes 0.0.0.0 for every address, IPv6's too, where the machine has them.
    """
    return {
        connection.laddr.port: {"::": "0.0.0.0"}.get(
            connection.laddr.ip, connection.laddr.ip.removeprefix("::ffff:")
        )
        for process in processes(server)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_a_server_listens_on_this_machine_only_and_says_nothing(server):
    assert listening(server) == dict.fromkeys(
        (server.grpc_port, server.http_port, server.metrics_port), "127.0.0.1"
    )
    assert list(server.exposure()) == []


def test_the_host_opens_grpc_alone(repository):
    with EmbeddedServer(repository, device="cpu", host="0.0.0.0") as server:
        assert listening(server) == {
            server.grpc_port: "0.0.0.0",
            server.http_port: "127.0.0.1",
            server.metrics_port: "127.0.0.1",
        }
        said = " ".join(server.exposure())

    assert f"Open to other machines: gRPC 0.0.0.0:{server.grpc_port}. " in said
    assert "HTTP" not in said
    assert "metrics" not in said
    assert "CVE-2025-23318" in said  # Triton 2.51 has it, over gRPC too
    assert "CVE-2025-23310" not in said  # over HTTP only
    assert "CVE-2025-23319" not in said  # needs what is closed


def test_http_and_metrics_are_opened_by_an_address_of_their_own(repository):
    hosts = {"http_host": "0.0.0.0", "metrics_host": "0.0.0.0"}
    with EmbeddedServer(repository, device="cpu", **hosts) as server:
        assert listening(server) == {
            server.grpc_port: "127.0.0.1",
            server.http_port: "0.0.0.0",
            server.metrics_port: "0.0.0.0",
        }
        said = " ".join(server.exposure())

    assert f"HTTP 0.0.0.0:{server.http_port}, metrics 0.0.0.0:{server.metrics_port}. " in said
    assert "one request in millions of chunks ends the server" in said
    assert "CVE-2025-23310" in said


def test_vertex_ai_gets_no_endpoint_of_its_own(repository, monkeypatch):
    # With these Triton listens on one more port of every address, and older ones restrict nothing.
    monkeypatch.setenv("AIP_MODE", "PREDICTION")
    monkeypatch.setenv("AIP_HTTP_PORT", "0")
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "/health")
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/predict")
    with EmbeddedServer(repository, device="cpu") as server:
        assert set(listening(server)) == {server.grpc_port, server.http_port, server.metrics_port}


# --- shared memory --------------------------------------------------------------------------------


def test_regions_have_a_name_that_newer_tritons_let_nobody_register(server):
    assert regions(server)
    assert all(region.name.startswith(RESERVED) for region in regions(server))


def test_servers_beside_each_other_share_neither_key_nor_regions(server, keyed, repository):
    with EmbeddedServer(repository, device="cpu") as third:
        keys = [closed_apis.restricted_by(tritonserver(each).pid) for each in (server, third)]
        assert keys[0] != keys[1]
        assert regions(third)
        assert not set(regions(third)) & set(regions(server))
        gone = regions(third)
        assert get(third, "/v2/health/ready") == 200

    assert not [region for region in gone if region.exists()]
    for each in (server, keyed):
        assert regions(each)
        assert get(each, "/v2/health/ready") == 200


def test_regions_of_a_server_killed_whole_are_removed_by_the_next(
    repository, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = EmbeddedServer(repository, device="cpu")
    killed.start()
    killed.wait_ready()
    left = regions(killed)
    assert left
    all_of_it = processes(killed)
    for process in all_of_it:  # first the supervisor, which would clean up
        with contextlib.suppress(ProcessLookupError):  # it went with the supervisor
            os.kill(process.pid, signal.SIGKILL)
    killed._process.wait(600)
    psutil.wait_procs(all_of_it, timeout=600)
    os.close(killed._runtime.lock)  # as if this process, too, were dead
    assert [region for region in left if region.exists()] == left
    an_hour_ago = time.time() - 3600
    os.utime(killed._runtime.path, (an_hour_ago, an_hour_ago))

    with EmbeddedServer(repository, device="cpu"):
        assert not [region for region in left if region.exists()]
        assert not killed._runtime.path.exists()


# --- the known holes ------------------------------------------------------------------------------


def test_the_security_page_has_every_hole_as_the_code_has_it():
    from cxrclient.serving.exposure import HOLES

    text = (ROOT / "SECURITY.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| CVE-")
    ]

    assert rows == [
        [
            ", ".join(hole.cves),
            hole.release,
            "HTTP" if hole.http_only else "HTTP, gRPC",
            hole.what,
            hole.closed_by or "**open**",
        ]
        for hole in HOLES
    ]


def test_from_the_floor_on_no_known_hole_runs_code_and_the_image_is_above_it():
    from cxrclient.serving.exposure import HOLES

    image = (ROOT / "deploy/docker/Dockerfile").read_text().partition("tritonserver:")[2][:5]
    floor = max(hole.release for hole in HOLES if hole.runs_code and not hole.closed_by)

    assert floor == "25.07"
    assert image >= floor
    text = (ROOT / "SECURITY.md").read_text()
    assert f"**{floor}**" in text
    assert f"**{image}**" in text


@pytest.mark.parametrize(
    ("version", "has", "lacks"),
    [
        ("2.51.0", "CVE-2025-23310", None),
        ("2.59.0", "CVE-2025-23310", None),  # 25.06
        ("2.59.1", "CVE-2025-33201", "CVE-2025-23310"),
        ("2.64.0", "CVE-2026-24146", "CVE-2025-33201"),  # 25.12
        ("2.72.0", None, "CVE-2026-24208"),
        ("unknown", "CVE-2026-24208", None),
    ],
)
def test_a_triton_has_the_holes_that_its_version_says(version, has, lacks):
    from cxrclient.serving.exposure import holes_of

    found = {cve for hole in holes_of(version) for cve in hole.cves}

    assert has is None or has in found
    assert lacks not in found


@pytest.mark.parametrize(("key", "kept"), [("", None), (" \t", None), ("its key", "its key")])
def test_a_blank_admin_key_is_none(
    key: str, kept: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_ADMIN_KEY", key)
    assert ServerSettings().admin_key == kept
