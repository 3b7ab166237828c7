"""A real Milvus server without Docker, for tests and benchmarks: the PyPI package `milvus`.

The package's own launcher leaves an orphan when it is killed, and takes ports that another may take
meanwhile. So its configuration and programs are used, and the server is started here: one process
on ports that were free, which dies with the one that wanted it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S = 600.0  # only a hang takes so long, whatever else the machine does


def missing() -> str | None:
    """Why no server can be started here; None where one can."""
    if sys.platform != "linux":
        return "the Milvus server of the PyPI package milvus is tried on Linux only"
    if importlib.util.find_spec("milvus") is None:
        return "the PyPI package milvus is missing: pip install milvus==2.3.5"
    return None


class MilvusServer:
    """A Milvus server with its data in a folder, which may be used again. A context manager."""

    def __init__(self, folder: Path, programs: Path, **settings: str | bool | int) -> None:
        """Prepare; nothing is started.

        Args:
            folder: for data and logs.
            programs: where Milvus is unpacked to (300 MB); kept, so that it is done once.
            settings: of the package's configuration, such as `authorization_enabled=True`.
        """
        self.folder = folder
        self.port = 0
        self._programs = programs
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = ExitStack()

    @property
    def uri(self) -> str:
        """Where it answers; the same after each start."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start, and wait until it is ready.

        Raises:
            RuntimeError: it ended, or was not ready in time; names its log.
        """
        health_port = self._configure()
        environment = os.environ | {
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(health_port),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
            "ETCD_CONFIG_PATH": str(self._etcd),
            "LD_LIBRARY_PATH": str(self._programs),
        }
        with self._log.open("wb") as log:
            process = self._process = subprocess.Popen(
                # Not by preexec_fn: gRPC may end a fork of a process that uses it.
                ["setpriv", "--pdeathsig", "KILL", self._programs / "milvus", "run", "standalone"],  # noqa: S607
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait(process, f"http://127.0.0.1:{health_port}/healthz")

    def kill(self) -> None:
        """End it as a power failure would, and wait until it is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def remove(self) -> None:
        """End it and remove its data."""
        self.kill()
        self._ports.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self.folder / "milvus.log"

    @property
    def _etcd(self) -> Path:
        return self.folder / "etcd.yaml"

    def _configure(self) -> int:
        """Unpack the programs, write the configuration; returns the port of the health check."""
        import milvus

        self.folder.mkdir(parents=True, exist_ok=True)
        self._programs.parent.mkdir(parents=True, exist_ok=True)
        if self._programs.name != "bin":
            raise ValueError(f"{self._programs}: the package unpacks into a folder named bin.")
        with (self._programs.parent / "unpacking").open("w") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)  # another process would run what is half unpacked
            milvus._initialize_data_files(str(self._programs.parent))
        config = milvus.MilvusServerConfig()
        config.update(data_dir=str(self.folder))
        config.resolve_storage()
        names = [name for name in config.configurable_items if name.endswith("_port")]
        *ports, peer_port, health_port = _free_ports(self._ports, len(names) + 2)
        for name, port in zip(names, ports, strict=True):
            config.set(name, port)
        if self.port:
            config.set("proxy_port", self.port)
        self.port = int(config.get("proxy_port"))
        # How long a start waits for the sessions of a server that was killed; 30 s by default.
        config.set("common.session.ttl", 5)
        for role in _ROLES:  # else they find each other at the machine's first outside address
            config.set(f"{role}.ip", "127.0.0.1")
        for name, value in self._settings.items():
            config.set(name, value)
        config.write_config()
        # Without this, each embedded etcd listens for its peers at 2380, and the second one ends.
        client, peer = (f"http://localhost:{port}" for port in (config.get("etcd_port"), peer_port))
        self._etcd.write_text(
            f"listen-client-urls: {client}\nadvertise-client-urls: {client}\n"
            f"listen-peer-urls: {peer}\ninitial-advertise-peer-urls: {peer}\n"
            f"initial-cluster: default={peer}\n",
            encoding="utf-8",
        )
        return health_port

    def _wait(self, process: subprocess.Popen[bytes], health: str) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError(f"Milvus ended ({process.returncode}); see {self._log}.")
            try:
                with urllib.request.urlopen(health, timeout=5) as answer:  # noqa: S310  # our own
                    if b"OK" in answer.read():
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)
        raise RuntimeError(f"Milvus was not ready in {START_TIMEOUT_S:.0f} s; see {self._log}.")


_ROLES = (
    *("rootCoord", "proxy", "queryCoord", "queryNode"),
    *("indexCoord", "indexNode", "dataCoord", "dataNode"),
)


def _free_ports(held: ExitStack, count: int) -> list[int]:
    """Ports where nothing listens; no other process is given them while they are held.

    Who asks for one of them gets it, as Go's listeners do, with SO_REUSEADDR.
    """
    sockets = [held.enter_context(socket.socket()) for _ in range(count)]
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind(("127.0.0.1", 0))
    return [each.getsockname()[1] for each in sockets]
