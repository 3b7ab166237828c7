"""Runs a Triton server on this machine for as long as someone needs it.

    with EmbeddedServer() as server:
        CxrClient(server.grpc_address)

The server is a real `tritonserver` process (`tritonserver.py` says where from). It ends
with the block, and with this process, however that ends.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from cxrclient.errors import ServeFailed
from cxrclient.files import parse_json
from cxrclient.serving import exposure, supervise
from cxrclient.serving.device import CpuPrecision, Device, configuration_name, fit_device
from cxrclient.serving.runtime_directory import RuntimeDirectory
from cxrclient.serving.shipped import find_repository
from cxrclient.serving.tritonserver import (
    INSTALL_HINT,
    claim_ports,
    find_installation,
    require_loadable,
    require_platform,
    server_environment,
    warn_of_shared_memory,
)
from cxrclient.wire import EnsembleInfo, Tls

_logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 15.0
"""Films in flight get this long to finish when the server is asked to stop."""


class EmbeddedServer:
    """A Triton server as a child process.

    Once it is ready, it is started again when one of its step processes dies, or it crashes; that
    is logged as a warning (`supervise` says when, and when not).

    Args:
        repository: the model repository, or as text the name of one that comes with this package;
            None for `starter`.
        grpc_port: 0 for a free one; the same for the next two.
        http_port: KServe v2 over HTTP, and the readiness check.
        metrics_port: Prometheus metrics.
        host: the address that gRPC listens on; the default is reachable from this machine only.
        http_host: the same for HTTP. Older Tritons can be ended over it (SECURITY.md).
        metrics_host: the same for the metrics.
        device: `auto` takes the GPU where GPU, TensorRT backend and plans are all there.
        precision: that the CPU computes in; None for f32. A GPU's is in its engines.
        log_file: where Triton's log goes; None keeps it only while the server runs.
        admin_key: opens Triton's administration to who sends it; None keeps it closed to everybody.
        tls: the server's certificate and key for gRPC (`exposure.Entrance`); None: no encryption.
        token: that who sends films has to have; None: nobody is asked for one.

    Raises:
        ServeFailed: the server cannot run here; the message names the cause and the mend.
        UsageError: the name is also a folder here, or a certificate cannot be used.
    """

    def __init__(
        self,
        repository: str | Path | None = None,
        *,
        grpc_port: int = 0,
        http_port: int = 0,
        metrics_port: int = 0,
        host: str = "127.0.0.1",
        http_host: str = "127.0.0.1",
        metrics_host: str = "127.0.0.1",
        device: Device = "auto",
        precision: CpuPrecision | None = None,
        log_file: str | Path | None = None,
        admin_key: str | None = None,
        tls: Tls | None = None,
        token: str | None = None,
    ) -> None:
        require_platform()
        self.repository = find_repository(repository or None).resolve()
        self.host, self.http_host, self.metrics_host = host, http_host, metrics_host
        self._entrance = exposure.Entrance(admin_key, tls, token)
        self._ports = contextlib.ExitStack()
        ports = claim_ports(
            self._ports,
            grpc=(host, grpc_port),
            http=(http_host, http_port),
            metrics=(metrics_host, metrics_port),
        )
        self.grpc_port, self.http_port, self.metrics_port = ports
        self._installation = find_installation()
        self._environment = server_environment(self._installation)
        require_loadable(self._installation, self._environment)
        self.device = fit_device(self.repository, self._installation, device, precision)
        self.precision = precision or "f32"
        self._log_file = None if log_file is None else Path(log_file).resolve()
        self._log = Path(os.devnull)
        self._log_start = 0
        self._runtime: RuntimeDirectory | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._supervised = threading.Event()

    @property
    def grpc_address(self) -> str:
        """HOST:PORT for clients on this machine."""
        return f"{_from_here(self.host)}:{self.grpc_port}"

    @property
    def http_address(self) -> str:
        """HOST:PORT for clients on this machine."""
        return f"{_from_here(self.http_host)}:{self.http_port}"

    @property
    def metrics_address(self) -> str:
        """HOST:PORT for clients on this machine."""
        return f"{_from_here(self.metrics_host)}:{self.metrics_port}"

    def exposure(self) -> Iterator[str]:
        """Say, of a ready server, who else can reach it and what they can do; nothing if nobody."""
        metadata = parse_json(self._get("/v2") or b"{}")
        listening = {
            "gRPC": f"{self.host}:{self.grpc_port}",
            "HTTP": f"{self.http_host}:{self.http_port}",
            "metrics": f"{self.metrics_host}:{self.metrics_port}",
        }
        yield from self._entrance.notice(str(metadata.get("version", "unknown")), listening)

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process; returns before it is ready."""
        if self._process is not None:
            raise ServeFailed("the server runs already")
        warn_of_shared_memory()
        try:
            self._runtime = RuntimeDirectory()
            self._process = self._spawn(self._runtime)
            self._supervised.clear()
            threading.Thread(target=self._hear, args=(self._process.stdout,), daemon=True).start()
        except OSError as error:
            self.stop()
            raise ServeFailed(f"the server could not be started: {error}") from error

    def wait_ready(self, timeout_s: float = 600.0) -> EnsembleInfo:
        """Wait until every model is loaded and warm, and return what is served.

        Raises:
            ServeFailed: the server ended or is not ready in time; names the model and the reason.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self._require_alive()
            # The supervisor's word comes first: from then on it has the server back.
            if self._supervised.is_set() and self._get("/v2/health/ready") is not None:
                return self._ensemble()
            if time.monotonic() > deadline:
                raise ServeFailed(f"the server was not ready within {timeout_s:.0f} s")
            time.sleep(0.1)

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait while the server runs, or is started again.

        Raises:
            ServeFailed: the server ended without being asked to, and was not started again.
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
        self._ports.close()
        if self._runtime is not None:
            self._runtime.release()
            self._runtime = None

    def _spawn(self, runtime: RuntimeDirectory) -> subprocess.Popen[bytes]:
        backends = runtime.link_backends(self._installation)
        programs = runtime.link_python()
        path = os.pathsep.join((str(programs), os.environ.get("PATH", os.defpath)))
        regions = runtime.shared_memory_prefix
        supervisor = [sys.executable, "-I", "-S", supervise.__file__]
        supervisor += ["--directory", str(runtime.path), "--regions", regions]
        supervisor += ["--stop-timeout-s", str(STOP_TIMEOUT_S)]
        server = [str(self._installation.binary), *self._arguments(backends, regions)]
        self._log = self._log_file or runtime.path / "triton.log"
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            return subprocess.Popen(  # noqa: S603  # our own arguments, no shell
                [*supervisor, "--", *server],
                # The model processes of one server share a lock in its directory.
                env={**self._environment, "PATH": path, "CXR_SERVER_DIRECTORY": str(runtime.path)},
                stdin=subprocess.PIPE,  # closing it, or dying, ends the server
                stdout=subprocess.PIPE,  # what the supervisor tells
                stderr=log,
                start_new_session=True,
                pass_fds=[runtime.lock],
            )

    def _arguments(self, backends: Path, regions: str) -> list[str]:
        arguments = [
            f"--model-repository={self.repository}",
            f"--backend-directory={backends}",
            f"--grpc-address={self.host}",
            f"--grpc-port={self.grpc_port}",
            f"--http-address={self.http_host}",
            f"--http-port={self.http_port}",
            f"--metrics-address={self.metrics_host}",
            f"--metrics-port={self.metrics_port}",
            *self._entrance.arguments(),
            f"--allow-gpu-metrics={str(self.device == 'gpu').lower()}",
            # Our configurations are whole; completing them would start every Python stub twice.
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={int(STOP_TIMEOUT_S) - 5}",
            # Servers beside each other collide under the default names. Python-based backends
            # (openvino) take the setting of `python` too.
            f"--backend-config=python,shm-region-prefix-name={regions}-",
        ]
        if self.device == "cpu":
            name = Path(configuration_name("cpu", self.precision)).stem
            arguments += [f"--model-config-name={name}", "--pinned-memory-pool-byte-size=0"]
        return arguments

    def _hear(self, told: IO[bytes]) -> None:
        """Take note of what the supervisor tells, until it ends."""
        with told:
            for line in told:
                sentence = line.decode().strip()
                if sentence == supervise.READY:
                    self._supervised.set()
                else:
                    self._supervised.clear()
                    _logger.warning("%s", sentence)

    def _require_alive(self) -> None:
        process = self._process
        if process is None:
            raise ServeFailed("the server is not running")
        if process.poll() is None:
            return
        with self._log.open("rb") as log:
            # The file may hold earlier runs, or have been emptied since (logrotate).
            log.seek(self._log_start if self._log.stat().st_size >= self._log_start else 0)
            text = log.read().decode(errors="replace")
        raise ServeFailed(_reason(text, process.returncode))

    def _ensemble(self) -> EnsembleInfo:
        config = self._get("/v2/models/cxr/config")
        if config is None:
            raise ServeFailed(f"{self.repository} has no ensemble named cxr")
        parameters = {
            key: value.get("string_value", "")
            for key, value in parse_json(config).get("parameters", {}).items()
        }
        try:
            return EnsembleInfo.from_parameters(parameters)
        except (KeyError, ValueError, RecursionError) as error:
            raise ServeFailed(
                f"the ensemble cxr of {self.repository} does not say what clients need "
                f"({type(error).__name__}: {error}); build it again with `cxrexport build`"
            ) from error

    def _get(self, path: str) -> bytes | None:
        """Return the body of a successful answer, None for any other fate."""
        connection = http.client.HTTPConnection(
            _from_here(self.http_host), self.http_port, timeout=5
        )
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if response.status == http.client.OK else None


def _from_here(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "") else host  # noqa: S104


def _reason(log: str, returncode: int) -> str:
    """Find in Triton's log why it ended, as one line."""
    for pattern in _REASONS:
        found = re.search(pattern, log)
        if found is not None:
            # Triton writes a line end inside a message as \\n; tracebacks follow the first one.
            why = re.split(r"\\n|\n", found["why"])[0].strip(' ";')
            why = re.sub(r"^(Internal: |Invalid argument: |TritonModelException: )+", "", why)
            mend = "`cxrexport check` tells what is not as it was built"
            if "No module named" in why:
                mend = INSTALL_HINT
            return f"model {found['model']} does not load: {why}. Mend: {mend}"
    if returncode < 0 or returncode > 128:
        number = signal.Signals(-returncode if returncode < 0 else returncode - 128)
        memory = "; the kernel does so when memory runs out" if number == signal.SIGKILL else ""
        return f"the server was ended by signal {number.name}{memory}"
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "its log is empty")
    return f"the server ended with code {returncode}: {last.strip()}"


# The first that matches: a model's own failure comes before those of the ensemble that needs it.
_REASONS = (
    r"failed to load '(?P<model>[^']+)' version \d+: (?P<why>.+)",
    r"Poll failed for model directory '(?P<model>[^']+)': (?P<why>.+)",
    r"ensemble '?(?P<model>[\w-]+)'? (?P<why>contains .+|depends .+)",
)
