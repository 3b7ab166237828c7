"""The proxy of compose.yaml: nginx with the committed configuration, the client, a real server."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrclient import CxrClient, FilmError, Prediction
from cxrclient.errors import AccessDenied, ServerUnreachable, TlsFailed
from cxrclient.films import MAX_FILE_BYTES
from cxrclient.wire import Endpoint, Tls
from waiting import HANG_S, eventually

TOKEN = "ab" * 32
MUTUAL = "ssl_client_certificate /etc/cxr/ca.pem;\nssl_verify_client on;\n"


class Proxy:
    """nginx, as compose starts it, on a free port.

    Args:
        folder: for what it writes, and its certificates.
        conf: the committed configuration.
        grpc: HOST:PORT behind it.
        metrics: likewise.
    """

    def __init__(self, folder: Path, conf: str, grpc: str, metrics: str) -> None:
        # It takes over what already listens, so that nobody else comes to have the port meanwhile.
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        for ours, here in [
            ("listen 8443", f"listen {self.address}"),
            ("server:8001", grpc),
            ("server:8002", metrics),
            ("/tmp/", f"{folder}/"),  # first: the folder is below it
            ("/etc/cxr/", f"{folder}/"),
            ("/dev/stdout", f"{folder}/access.log"),
        ]:
            assert ours in conf, ours
            conf = conf.replace(ours, here)
        file = folder / "nginx.conf"
        file.write_text(conf)
        nginx = shutil.which("nginx")
        if nginx is None:
            pytest.skip("nginx is not installed: apt-get install nginx")
        # Its workers give root up otherwise, and could not enter pytest's folder.
        root = ["user root;"] if os.geteuid() == 0 else []
        command = [
            nginx,
            "-c",
            str(file),
            "-p",
            str(folder),
            "-g",
            " ".join([*root, "daemon off;"]),
        ]
        with listener, (folder / "error.log").open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stderr=errors,
                env={**os.environ, "NGINX": f"{listener.fileno()};"},
                pass_fds=[listener.fileno()],
            )
        self.log = folder / "access.log"

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(HANG_S) == 0, (self.log.parent / "error.log").read_text()


@pytest.fixture(scope="module")
def conf() -> str:
    return (Path(__file__).parents[2] / "deploy" / "proxy" / "nginx.conf").read_text()


@pytest.fixture
def proxy(
    tmp_path: Path, conf: str, certificates: Path, triton_server: Any
) -> Iterator[Callable[..., Proxy]]:
    """Starts the proxy before the real server: `proxy(grpc=…, conf=…, mutual=…)`."""
    for name in ("server.pem", "server.key", "ca.pem"):
        shutil.copy(certificates / name, tmp_path)
    (tmp_path / "tokens.conf").write_text(f'"Bearer {TOKEN}" ward;\n')
    started: list[Proxy] = []

    def start(grpc: str = triton_server.grpc_address, conf: str = conf, mutual: str = "") -> Proxy:
        if mutual:
            (tmp_path / "mutual.conf").write_text(mutual.replace("/etc/cxr", str(tmp_path)))
        started.append(Proxy(tmp_path, conf, grpc, triton_server.metrics_address))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def film(tmp_path: Path, write_dicom: Callable[..., Path]) -> Path:
    return write_dicom(tmp_path / "film.dcm")


@pytest.fixture
def tls(certificates: Path) -> Tls:
    return Tls(certificates / "ca.pem")


def test_a_film_goes_through_with_the_token_and_the_log_says_whose_it_was(
    proxy: Callable[..., Proxy], tls: Tls, film: Path
) -> None:
    through = proxy()
    with CxrClient(Endpoint(f"grpcs://{through.address}", tls, TOKEN)) as cxr:
        assert isinstance(cxr.predict(film), Prediction)
    # nginx answers first and writes then.
    line = r" ward /inference\.GRPCInferenceService/ModelInfer 200 "
    eventually(lambda: re.search(line, through.log.read_text()))
    assert TOKEN not in through.log.read_text()


@pytest.mark.parametrize(("token", "why"), [(None, "asks for a token"), ("cd", "refuses the tok")])
def test_who_has_no_token_or_another_is_told_so(
    token: str | None, why: str, proxy: Callable[..., Proxy], tls: Tls
) -> None:
    with pytest.raises(AccessDenied, match=why):
        CxrClient(Endpoint(proxy().address, tls, token))


def test_a_proxy_of_another_authority_is_not_trusted(
    proxy: Callable[..., Proxy], certificates: Path
) -> None:
    with pytest.raises(TlsFailed, match="not trusted"):
        CxrClient(Endpoint(proxy().address, Tls(certificates / "unknown.pem"), TOKEN))


def test_mutual_tls_lets_in_who_has_a_certificate(
    proxy: Callable[..., Proxy], tls: Tls, certificates: Path
) -> None:
    address = proxy(mutual=MUTUAL).address
    ours = Tls(tls.ca, certificates / "client.pem", certificates / "client.key")
    with CxrClient(Endpoint(address, ours, TOKEN)) as cxr:
        assert cxr.model.name
    with pytest.raises(AccessDenied, match="asks for a certificate of yours"):
        CxrClient(Endpoint(address, tls, TOKEN))


def test_a_film_beyond_the_limit_is_turned_away_and_the_next_one_goes_through(
    proxy: Callable[..., Proxy],
    conf: str,
    tls: Tls,
    film: Path,
    tmp_path: Path,
    drawn_film: Callable[..., Any],
    write_dicom: Callable[..., Path],
) -> None:
    small = conf.replace("client_max_body_size 513m", "client_max_body_size 1m")
    large = write_dicom(tmp_path / "large.dcm", drawn_film(rows=2000, columns=1800))
    with CxrClient(Endpoint(proxy(conf=small).address, tls, TOKEN)) as cxr:
        with pytest.raises(FilmError) as raised:
            cxr.predict(large)
        assert (raised.value.code, raised.value.status) == ("TOO_LARGE", "rejected")
        assert isinstance(cxr.predict(film), Prediction)


def test_the_limit_is_that_of_the_client(conf: str) -> None:
    limit = re.search(r"client_max_body_size (\d+)m;", conf)
    assert limit is not None
    assert int(limit[1]) << 20 == MAX_FILE_BYTES + (1 << 20)


def test_a_server_that_is_away_is_unreachable_as_without_a_proxy(
    proxy: Callable[..., Proxy], tls: Tls
) -> None:
    with pytest.raises(ServerUnreachable):
        CxrClient(Endpoint(proxy(grpc="127.0.0.1:1").address, tls, TOKEN))


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/healthz", None, 200),
        ("/metrics", TOKEN, 200),
        ("/metrics", None, 204),  # with gRPC's status for "denied"
        ("/v2/models/cxr/infer", TOKEN, 404),
        ("/inference.GRPCInferenceService/RepositoryIndex", TOKEN, 404),
    ],
)
def test_besides_films_health_and_metrics_pass_and_nothing_else(
    path: str, token: str | None, status: int, proxy: Callable[..., Proxy], certificates: Path
) -> None:
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    connection = http.client.HTTPSConnection("127.0.0.1", proxy().port, context=context)
    connection.request("GET", path, headers={"authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == status
    assert (b"nv_inference_request_success" in body) == (path == "/metrics" and status == 200)
