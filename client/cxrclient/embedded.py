"""Runs a Triton server on this machine for as long as someone needs it.

    with EmbeddedServer() as server:
        CxrClient(server.grpc_address)

The server is a real `tritonserver` process (`tritonserver.py` says where from). It ends
with the block, and with this process, however that ends.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from cxrclient import _supervise
from cxrclient.errors import ServeFailed
from cxrclient.runtime_directory import RuntimeDirectory
from cxrclient.tritonserver import (
    choose_device,
    data_path,
    find_installation,
    require_loadable,
    require_platform,
    require_whole,
    server_environment,
)

__all__ = ["EmbeddedServer", "ServedModel"]

Device = Literal["auto", "cpu", "gpu"]

STOP_TIMEOUT_S = 15.0
"""Films in flight get this long to finish when the server is asked to stop."""


@dataclass(frozen=True)
class ServedModel:
    """What a ready server says of its ensemble."""

    name: str
    digest: str
    notice: str


class EmbeddedServer:
    """A Triton server as a child process.

    Args:
        repository: the model repository; None for the one that comes with this package.
        grpc_port: 0 for a free one; the same for the next two.
        http_port: KServe v2 over HTTP, and the readiness check.
        metrics_port: Prometheus metrics.
        host: the address to listen on; the default is reachable from this machine only.
        device: `auto` takes the GPU where GPU, TensorRT backend and plans are all there.
        log_file: where Triton's log goes; None keeps it only while the server runs.

    Raises:
        ServeFailed: the server cannot run here; the message names the cause and the mend.
    """

    def __init__(
        self,
        repository: str | Path | None = None,
        *,
        grpc_port: int = 0,
        http_port: int = 0,
        metrics_port: int = 0,
        host: str = "127.0.0.1",
        device: Device = "auto",
        log_file: str | Path | None = None,
    ) -> None:
        require_platform()
        default = data_path("model_repository", "model_repository")
        self.repository = Path(repository or default).resolve()
        self.host = host
        ports = _claim_ports(host, grpc=grpc_port, http=http_port, metrics=metrics_port)
        self.grpc_port, self.http_port, self.metrics_port = ports
        self._installation = find_installation()
        self._environment = server_environment(self._installation)
        require_loadable(self._installation, self._environment)
        self.device = choose_device(device, self._installation, self.repository)
        require_whole(self.repository, self.device)
        self._log_file = None if log_file is None else Path(log_file).resolve()
        self._runtime: RuntimeDirectory | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def grpc_address(self) -> str:
        """HOST:PORT for clients on this machine."""
        return f"{self._client_host}:{self.grpc_port}"

    @property
    def http_address(self) -> str:
        """HOST:PORT for clients on this machine."""
        return f"{self._client_host}:{self.http_port}"

    @property
    def metrics_address(self) -> str:
        """HOST:PORT for clients on this machine."""
        return f"{self._client_host}:{self.metrics_port}"

    @property
    def _client_host(self) -> str:
        return "127.0.0.1" if self.host in ("0.0.0.0", "") else self.host  # noqa: S104

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process; returns before it is ready."""
        if self._process is not None:
            raise ServeFailed("the server runs already")
        self._runtime = RuntimeDirectory()
        backends = self._runtime.link_backends(self._installation)
        programs = self._runtime.link_python()
        path = os.pathsep.join((str(programs), os.environ.get("PATH", os.defpath)))
        environment = {**self._environment, "PATH": path}
        command = [str(self._installation.binary), *self._arguments(backends)]
        supervisor = [sys.executable, "-I", "-S", _supervise.__file__, str(self._runtime.path)]
        with self._log_path().open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own arguments, no shell
                [*supervisor, self._runtime.shared_memory_prefix, str(STOP_TIMEOUT_S), *command],
                env=environment,
                stdin=subprocess.PIPE,  # closing it, or dying, ends the server
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self._runtime.lock],
            )

    def wait_ready(self, timeout_s: float = 600.0) -> ServedModel:
        """Wait until every model is loaded and warm, and return what is served.

        Raises:
            ServeFailed: the server ended or is not ready in time; names the model and the reason.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self._require_alive()
            if self._get("/v2/health/ready") is not None:
                return self._served_model()
            if time.monotonic() > deadline:
                raise ServeFailed(f"the server was not ready within {timeout_s:.0f} s")
            time.sleep(0.1)

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait while the server runs.

        Raises:
            ServeFailed: the server ended without being asked to.
        """
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
                self._require_alive()

    def stop(self) -> None:
        """End the server and all its children, and remove what they leave; harmless twice."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                process.wait(STOP_TIMEOUT_S + 5)
            except subprocess.TimeoutExpired:
                process.kill()  # the kernel ends the server with it
                process.wait()
        if self._runtime is not None:
            self._runtime.release()
            self._runtime = None

    def _arguments(self, backends: Path) -> list[str]:
        assert self._runtime is not None  # noqa: S101  # start() made it
        regions = self._runtime.shared_memory_prefix
        arguments = [
            f"--model-repository={self.repository}",
            f"--backend-directory={backends}",
            f"--grpc-address={self.host}",
            f"--grpc-port={self.grpc_port}",
            f"--http-address={self.host}",
            f"--http-port={self.http_port}",
            f"--metrics-address={self.host}",
            f"--metrics-port={self.metrics_port}",
            f"--allow-gpu-metrics={str(self.device == 'gpu').lower()}",
            # Our configurations are whole; completing them would start every Python stub twice.
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={int(STOP_TIMEOUT_S) - 5}",
            # Servers beside each other collide under the default names. Python-based backends
            # (openvino) take the setting of `python` too.
            f"--backend-config=python,shm-region-prefix-name={regions}-",
        ]
        if self.device == "cpu":
            arguments += ["--model-config-name=cpu", "--pinned-memory-pool-byte-size=0"]
        return arguments

    def _log_path(self) -> Path:
        assert self._runtime is not None  # noqa: S101  # start() made it
        return self._log_file or self._runtime.path / "triton.log"

    def _require_alive(self) -> None:
        process = self._process
        if process is None or self._runtime is None:
            raise ServeFailed("the server is not running")
        if process.poll() is None:
            return
        log = self._log_path().read_text(encoding="utf-8", errors="replace")
        raise ServeFailed(_reason(log, process.returncode))

    def _served_model(self) -> ServedModel:
        config = self._get("/v2/models/cxr/config")
        if config is None:
            raise ServeFailed(f"{self.repository} has no ensemble named cxr")
        parameters = {
            key: value.get("string_value", "")
            for key, value in json.loads(config).get("parameters", {}).items()
        }
        return ServedModel(
            name=parameters.get("model_name", "unnamed"),
            digest=parameters.get("model_digest", ""),
            notice=parameters.get("notice", ""),
        )

    def _get(self, path: str) -> bytes | None:
        """Return the body of a successful answer, None for any other fate."""
        connection = http.client.HTTPConnection(self._client_host, self.http_port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if response.status == http.client.OK else None


def _claim_ports(host: str, **wanted: int) -> tuple[int, ...]:
    """Check that each port is free, and pick free ones for 0."""
    with contextlib.ExitStack() as held:
        ports = []
        for name, port in wanted.items():
            claim = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            # As Triton does, so that a connection of a server just ended does not count.
            claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                claim.bind((host, port))
                claim.listen()
            except OSError as error:
                raise ServeFailed(
                    f"{name} port {port} on {host} cannot be used ({error.strerror}); stop what "
                    f"listens there, or pass another `--{name}-port`"
                ) from error
            ports.append(claim.getsockname()[1])
    return tuple(ports)


def _reason(log: str, returncode: int) -> str:
    """Find in Triton's log why it ended, as one line."""
    # A model's own failure comes before the failures of the ensemble that needs it.
    for pattern in _REASONS:
        found = re.search(pattern, log)
        if found is not None:
            parts = [part.split("\\n")[0].split("\n")[0] for part in found.groups()]
            return ": ".join(part.strip(' "') for part in parts)
    if returncode < 0 or returncode > 128:
        number = -returncode if returncode < 0 else returncode - 128
        return f"the server was ended by signal {signal.Signals(number).name}"
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "its log is empty")
    return f"the server ended with code {returncode}: {last.strip()}"


_REASONS = (
    r"failed to (load '[^']+') version \d+: (.+)",
    r"Poll failed for (model directory '[^']+'): (.+)",
    r"error: (creating server): (.+)",
    r"(failed to start [A-Za-z ]+service): (.+)",
)
