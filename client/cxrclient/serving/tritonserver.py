"""Where a Triton server comes from on this machine, and whether it can serve a repository.

Triton comes from PATH (an NVIDIA container, a package), or from the PyPI package nvidia-pytriton,
whose files are used as they lie, without importing it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from cxrclient.errors import ServeFailed

_logger = logging.getLogger(__name__)

INSTALL_HINT = (
    "run `pip install '.[serve]'` in a checkout of cxr-triton, or put its wheel's path for the dot"
)
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where POSIX puts it; not a temporary file of ours
ENOUGH_SHARED_MEMORY = 960 * 2**20
"""A batch of 16 films and lung maps of 1024 px (128 MB) for five graphs, and their outputs."""
STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class Installation:
    """A Triton server as it lies on the disk.

    Attributes:
        binary: the `tritonserver` executable.
        backends: its backend directory; holds at least `python`.
        stub: the Python backend's stub for the running Python version.
        libraries: directories that its loader must search besides the system's.
    """

    binary: Path
    backends: Path
    stub: Path
    libraries: tuple[Path, ...] = ()

    def has_backend(self, name: str) -> bool:
        """Say whether a backend of that name comes with the server."""
        return (self.backends / name).is_dir()


def require_platform() -> None:
    """Raise ServeFailed where no Triton server exists: it is built for Linux on x86-64."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise ServeFailed(
            f"Triton runs on Linux x86-64, and this is {system} {machine}; the client works here: "
            f"run `cxrclient serve` on a Linux machine and give its `address`, HOST:8001, here"
        )


def data_path(installed: str, checkout: str) -> Path:
    """Return data that the wheel carries, or its place in a checkout where there is no wheel.

    Args:
        installed: path below `cxrclient/data` in the wheel.
        checkout: path below the root of a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    in_wheel = package / "data" / installed
    return in_wheel if in_wheel.exists() else package.parents[1] / checkout


def find_installation() -> Installation:
    """Find a server whose Python stub fits the running Python: PATH first, then the PyPI one.

    Raises:
        ServeFailed: there is none, or none that fits; says why and what to install.
    """
    reasons: list[str] = []
    for candidate in (_on_path(), _from_pypi()):
        if candidate is None:
            continue
        reason = _misfit(candidate)
        if reason is None:
            for unfit in reasons:
                _logger.warning("%s; taking %s", unfit, candidate.binary)
            return candidate
        reasons.append(reason)
    if reasons:
        raise ServeFailed("; ".join(reasons))
    raise ServeFailed(f"no Triton server on PATH and none in this environment; {INSTALL_HINT}")


def _on_path() -> Installation | None:
    found = shutil.which("tritonserver")
    if found is None:
        return None
    binary = Path(found).resolve()
    beside, usual = binary.parents[1] / "backends", Path("/opt/tritonserver/backends")
    backends = beside if beside.is_dir() else usual
    return Installation(binary, backends, backends / "python" / STUB)


def _from_pypi() -> Installation | None:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(next(iter(spec.submodule_search_locations)))
    root = package / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Installation(
        binary=root / "bin" / "tritonserver",
        backends=root / "backends",
        stub=root / "python_backend_stubs" / version / STUB,
        libraries=(package.parent / "nvidia_pytriton.libs",),
    )


def _misfit(installation: Installation) -> str | None:
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not installation.binary.is_file():
        return f"{installation.binary} is not there; {INSTALL_HINT}, with --force-reinstall"
    if not installation.stub.is_file():
        return f"{installation.binary} has no Python backend for Python {running}; {INSTALL_HINT}"
    linked = re.search(rb"libpython(3\.\d+)\.so", installation.stub.read_bytes())
    if linked is not None and linked[1].decode() != running:
        return (
            f"the Python backend of {installation.binary} runs Python {linked[1].decode()}, this "
            f"is Python {running}: use one version for both, or {INSTALL_HINT}"
        )
    return None


def claim_ports(held: contextlib.ExitStack, **wanted: tuple[str, int]) -> tuple[int, ...]:
    """Return the ports, free ones in place of 0, in the order of the keywords.

    Args:
        held: until it is closed, the system gives the ports to nobody who asks for any; who asks
            for just these may listen there, as Triton does.
        wanted: host and port by the name of what will listen there.

    Raises:
        ServeFailed: a port is in use, or the host is not an address of this machine.
    """
    with contextlib.ExitStack() as listening:
        ports = []
        for name, (host, port) in wanted.items():
            try:
                address = held.enter_context(_bound((host, port))).getsockname()
                listening.enter_context(_bound(address)).listen()
            except OSError as error:
                raise ServeFailed(
                    f"{name} port {port} on {host} cannot be used ({error.strerror}); stop what "
                    f"listens there, or pass another `--{name}-port`"
                ) from error
            ports.append(address[1])
    return tuple(ports)


def _bound(address: tuple[str, int]) -> socket.socket:
    claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # As Triton does, so that a connection of a server just ended does not count.
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        claim.bind(address)
    except OSError:
        claim.close()
        raise
    return claim


def server_environment(installation: Installation) -> dict[str, str]:
    """Return the environment in which the server and its stubs find their libraries."""
    environment = dict(os.environ)
    # AIP_MODE=PREDICTION would open one more endpoint, Vertex AI's, which listens on every address
    # and, before Triton 26.03, passes on what is restricted.
    environment.pop("AIP_MODE", None)
    libraries = [str(path) for path in installation.libraries]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    own = Path(str(sysconfig.get_config_var("LIBDIR")), f"libpython{version}.so.1.0")
    if own.is_file():
        # The running Python brings its library: the stub becomes exactly this Python.
        libraries.append(str(own.parent))
    libraries.extend(filter(None, [environment.get("LD_LIBRARY_PATH")]))
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    return environment


def warn_of_shared_memory() -> None:
    """Warn where Triton and its stubs may run out of the memory they pass tensors through."""
    total = shutil.disk_usage(SHARED_MEMORY).total
    if total < ENOUGH_SHARED_MEMORY:
        _logger.warning(
            "%s has %d MB; large batches may fail. In a container, give it --shm-size=1g.",
            SHARED_MEMORY,
            total // 2**20,
        )


def require_loadable(installation: Installation, environment: dict[str, str]) -> None:
    """Start the stub the way Triton will, and name a library that its loader does not find."""
    result = subprocess.run(  # noqa: S603  # our own path, no shell
        [str(installation.stub)], env=environment, capture_output=True, text=True, check=False
    )
    missing = re.search(r"loading shared libraries: (\S+?):", result.stderr)
    if missing is None:
        return
    library = missing[1]
    package = re.match(r"libpython3\.\d+", library)
    mend = f"apt install {package[0]}" if package else f"install the package that holds {library}"
    raise ServeFailed(f"the Python backend needs {library}, which this system lacks: {mend}")
