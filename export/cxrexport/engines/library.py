"""TensorRT, which builds plans on the GPU that will serve them, and that GPU."""

from __future__ import annotations

import functools
import importlib
import logging
import re
from dataclasses import dataclass
from typing import Any, Literal

from cxrclient.serving import Gpu, driver_lack, gpus, tensorrt_versions
from cxrexport.errors import EngineError

_logger = logging.getLogger(__name__)

Architecture = Literal["current", "ampere+"]

OLDEST_TENSORRT = (10, 12)
"""Before it, strongly typed networks are one of two kinds, and these graphs were not tried."""


@dataclass(frozen=True)
class Library:
    """TensorRT, loaded.

    Attributes:
        module: the Python module.
        version: such as 10.13.3.9.
        log: an ILogger; a process has one, because TensorRT keeps the first that it is given.
    """

    module: Any
    version: str
    log: Any


@dataclass(frozen=True)
class Target:
    """What a plan is built for.

    Attributes:
        architecture: as it was asked for.
        gpu: of this machine; None where nothing tells which it is.
    """

    architecture: Architecture
    gpu: Gpu | None

    @property
    def compute_capability(self) -> str | None:
        """Of the GPU, such as `8.9`."""
        return None if self.gpu is None else self.gpu.compute_capability


def load_library() -> Library:
    """Import TensorRT.

    Raises:
        EngineError: it is not installed, too old, or not the server's; says what to run.
    """
    try:
        module = importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise EngineError(f"tensorrt is not installed: {_install()}") from error
    except (ImportError, OSError) as error:  # without libnvinfer, or one that does not fit
        raise EngineError(
            f"tensorrt is installed but does not load ({error}): {_install()}"
        ) from error
    version = str(module.__version__)
    _require_servers_own(version)
    return Library(module, version, _log_of(module))


def _install() -> str:
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


def resolve_target(architecture: Architecture) -> Target:
    """Say what an architecture means on this machine.

    Raises:
        EngineError: the driver is too old.
    """
    here = gpus()
    if (lack := driver_lack(here)) is not None:
        raise EngineError(f"{lack}.")
    return Target(architecture, here[0] if here else None)


def needs_gpu() -> EngineError:
    """Return the error of a machine on which TensorRT finds no GPU."""
    return EngineError(
        "TensorRT finds no NVIDIA GPU on this machine, and builds only where it will serve: run "
        "this on the GPU node. Without a GPU, `cxrclient serve --device cpu` serves the graphs."
    )
