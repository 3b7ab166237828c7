"""The two libraries that build engines, and the machines that they build for.

`tensorrt` builds plans that Triton loads, on the GPU that will serve. `tensorrt_rtx` has the same
Python API, builds for a named architecture without any GPU, and Triton never loads what it makes.
"""

from __future__ import annotations

import functools
import importlib
import logging
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cxrclient.serving import Gpu, driver_lack, gpus, tensorrt_versions
from cxrexport.errors import EngineError

__all__ = [
    "Architecture",
    "Flavour",
    "Library",
    "Target",
    "load_library",
    "needs_gpu",
    "resolve_target",
]

_logger = logging.getLogger(__name__)

Flavour = Literal["tensorrt", "tensorrt-rtx"]
Architecture = Literal["current", "ampere+", "sm75", "sm80", "sm86", "sm89", "sm120"]

OLDEST_TENSORRT = (10, 12)
"""Before it, strongly typed networks are one of two kinds, and these graphs were not tried."""
_MODULES: dict[Flavour, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


@dataclass(frozen=True)
class Library:
    """One of the two, loaded.

    Attributes:
        flavour: which.
        module: the Python module; both have the names that are used here.
        version: such as 10.13.3.9.
        log: an ILogger; a process has one, because TensorRT keeps the first that it is given.
    """

    flavour: Flavour
    module: Any
    version: str
    log: Any


@dataclass(frozen=True)
class Target:
    """What an engine is built for.

    Attributes:
        architecture: as it was asked for.
        compute_capability: such as `8.9`; None for the GPU here where nothing tells its own.
        gpu: of this machine if engines for the target run on it; None otherwise.
        why_not_here: why they do not run here; None where they do.
    """

    architecture: Architecture
    compute_capability: str | None
    gpu: Gpu | None
    why_not_here: str | None


def load_library(flavour: Flavour) -> Library:
    """Import TensorRT or TensorRT-RTX.

    Raises:
        EngineError: it is not installed, too old, or not the server's; says what to run.
    """
    name = _MODULES[flavour]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise EngineError(f"{name} is not installed: {_install(flavour)}") from error
    except (ImportError, OSError) as error:  # without libnvinfer, or one that does not fit
        raise EngineError(
            f"{name} is installed but does not load ({error}): {_install(flavour)}"
        ) from error
    version = str(module.__version__)
    if flavour == "tensorrt":
        _require_servers_own(version)
    return Library(flavour, module, version, _log_of(module))


def _install(flavour: Flavour) -> str:
    if flavour == "tensorrt-rtx":
        return "run `pip install tensorrt-rtx-cu13`, which needs no GPU"
    found = tensorrt_versions()
    version = f"=={found[0]}.*" if len(found) == 1 else ""
    return (
        f"run `pip install 'tensorrt{version}'` on the GPU node, the version of its Triton server"
    )


def _require_servers_own(version: str) -> None:
    parts = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if parts[:2] < OLDEST_TENSORRT:
        raise EngineError(
            f"TensorRT {version} is too old: strongly typed networks need "
            f"{'.'.join(map(str, OLDEST_TENSORRT))}. Take a newer Triton image, and its TensorRT."
        )
    servers = tensorrt_versions()
    if len(servers) == 1 and parts != tuple(map(int, servers[0].split("."))):
        raise EngineError(
            f"Python has TensorRT {version}, the libraries of this system are {servers[0]}, and a "
            f"server loads only plans of its own: run `pip install 'tensorrt=={servers[0]}.*'`"
        )


@functools.cache
def _log_of(trt: Any) -> Any:
    """A logger that passes on to `logging`, and remembers errors for messages."""

    class Log(trt.ILogger):  # type: ignore[misc]  # its class comes with the library
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            message = " ".join(message.split())
            if severity == trt.ILogger.Severity.ERROR:
                self.errors.append(message)
            warns = severity == trt.ILogger.Severity.WARNING
            _logger.log(logging.WARNING if warns else logging.DEBUG, "%s", message)

        def reason(self) -> str:
            return self.errors[-1][:400] if self.errors else "it gave no reason"

    return Log()


def resolve_target(flavour: Flavour, architecture: Architecture) -> Target:
    """Say what an architecture means on this machine.

    Raises:
        EngineError: the library cannot build for it, it needs a GPU and there is none, or the
            driver is too old.
    """
    here = gpus()
    first = here[0] if here else None
    lack = driver_lack(here)
    if flavour == "tensorrt":
        if lack is not None:
            raise EngineError(f"{lack}.")
        if architecture not in ("current", "ampere+"):
            raise EngineError(
                f"TensorRT builds for the GPU that it runs on: take `--arch current` or `--arch "
                f"ampere+`, or `--flavour tensorrt-rtx --arch {architecture} --output DIR`"
            )
        capability = None if first is None else first.compute_capability
        return Target(architecture, capability, first, None)
    if architecture == "ampere+":
        known = ", ".join(name for name in get_args(Architecture) if name.startswith("sm"))
        raise EngineError(f"TensorRT-RTX builds for one architecture each: --arch {known}")
    if architecture == "current":
        if first is None:
            raise EngineError(
                "--arch current needs an NVIDIA GPU, and this machine has none: name the "
                "architecture, for example `--arch sm89`"
            )
        return Target(architecture, first.compute_capability, first, lack)
    digits = architecture.removeprefix("sm")
    capability = f"{digits[:-1]}.{digits[-1]}"
    if first is None:
        return Target(architecture, capability, None, "this machine has no NVIDIA GPU")
    if first.compute_capability != capability:
        return Target(architecture, capability, None, f"this machine has {first}, not {capability}")
    return Target(architecture, capability, first, lack)


def needs_gpu(flavour: Flavour) -> EngineError:
    """The error of a machine on which TensorRT finds no GPU."""
    return EngineError(
        f"{flavour} finds no NVIDIA GPU on this machine, and builds only where it will serve: run "
        "this on the GPU node. Without one, `--flavour tensorrt-rtx --arch sm89 --output DIR` "
        "proves that the graphs build, and `cxrclient serve --device cpu` serves them."
    )
