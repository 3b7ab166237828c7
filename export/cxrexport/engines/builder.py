"""One graph → one serialized engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrclient.files import write_whole
from cxrexport.engines.library import Library, Target, needs_gpu
from cxrexport.errors import EngineError
from cxrexport.repository.spec import Edges, Tensor

_logger = logging.getLogger(__name__)

Progress = Callable[[float], None]
"""Told the share that is done, 0..1, from TensorRT's own threads."""

_TYPES = {"FP32": "FLOAT", "INT32": "INT32"}


@dataclass(frozen=True)
class Profile:
    """Films in one inference: 1, those that the engine is tuned for, and the most.

    Raises:
        ValueError: they are not in this order.
    """

    preferred: int
    maximum: int

    def __post_init__(self) -> None:
        if not 1 <= self.preferred <= self.maximum:
            raise ValueError(
                f"the preferred batch must lie in 1..{self.maximum}, not {self.preferred}"
            )

    def shapes(self, tensor: Tensor) -> dict[str, list[int]]:
        """Shapes of an input, batch first."""
        batches = {"min": 1, "preferred": self.preferred, "max": self.maximum}
        return {kind: [batch, *tensor.dims] for kind, batch in batches.items()}


class GraphBuilder:
    """A parsed network that is ready to be built.

    Args:
        library: TensorRT.
        target: what it is built for.
        graph: its name, for messages.
        model: serialised ONNX, of the precision that the engine shall have.
        edges: what config.pbtxt says of inputs and outputs.
        profile: how many films at once.

    Raises:
        EngineError: there is no GPU where one is needed, the library does not know an operation of
            the graph (named), or the network's edges are not the configured ones.
    """

    def __init__(
        self,
        library: Library,
        target: Target,
        graph: str,
        model: bytes,
        edges: Edges,
        profile: Profile,
    ) -> None:
        self.graph = graph
        self.profile = {tensor.name: profile.shapes(tensor) for tensor in edges.inputs}
        self._library = library
        trt = library.module
        self._log = library.log
        try:
            self._builder = trt.Builder(self._log)
        except (TypeError, RuntimeError) as error:  # TypeError: pybind11 got no object
            raise needs_gpu() from error
        self._network = self._builder.create_network(_creation_flags(library))
        self._parse(model)
        self._require_edges(edges)
        self._config = self._configure(target)

    def _parse(self, model: bytes) -> None:
        trt = self._library.module
        parser = trt.OnnxParser(self._network, self._log)
        if parser.parse(model):
            return
        faults = []
        for index in range(parser.num_errors):
            error = parser.get_error(index)
            faults.append(f"node {error.node_name()} ({error.node_operator()}): {error.desc()}")
        raise EngineError(
            f"TensorRT {self._library.version} cannot read the graph {self.graph}: "
            f"{'; '.join(faults) or self._log.reason()}. Write the network without that "
            f"operation, and run `cxrexport build` again."
        )

    def _require_edges(self, edges: Edges) -> None:
        """Compare names, types and shapes with the configuration that Triton will read."""
        trt, network = self._library.module, self._network
        for kind, count, get, tensors in (
            ("input", network.num_inputs, network.get_input, edges.inputs),
            ("output", network.num_outputs, network.get_output, edges.outputs),
        ):
            found = {get(index).name: get(index) for index in range(count)}
            for tensor in tensors:
                expected = (getattr(trt.DataType, _TYPES[tensor.dtype]), (-1, *tensor.dims))
                edge = found.pop(tensor.name, None)
                if edge is None or (edge.dtype, tuple(edge.shape)) != expected:
                    is_ = "missing" if edge is None else f"{edge.dtype} {tuple(edge.shape)}"
                    raise EngineError(
                        f"{kind} {tensor.name} of the graph {self.graph} is {is_}; configured is "
                        f"{tensor.dtype} {expected[1]}. Run `cxrexport check`."
                    )
            if found:
                raise EngineError(
                    f"the graph {self.graph} has the {kind}s {', '.join(found)}, which are not "
                    f"configured. Run `cxrexport check`."
                )

    def _configure(self, target: Target) -> Any:
        trt = self._library.module
        config = self._builder.create_builder_config()
        # fp32 parts are fp32: TF32 would keep 10 bits of what the head and Grad-CAM compute.
        config.clear_flag(trt.BuilderFlag.TF32)
        if target.architecture == "ampere+":
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        profile = self._builder.create_optimization_profile()
        for name, shapes in self.profile.items():
            profile.set_shape(name, shapes["min"], shapes["preferred"], shapes["max"])
        if config.add_optimization_profile(profile) < 0:
            raise EngineError(
                f"the profile {self.profile} does not fit the graph {self.graph}. Run `cxrexport "
                f"check`."
            )
        return config

    def build(self, progress: Progress | None = None, timing_cache: Path | None = None) -> bytes:
        """Build the engine.

        Args:
            progress: is told how far it is.
            timing_cache: TensorRT's measurements, read and written anew, so that the next build
                takes seconds.

        Raises:
            EngineError: the library could not; says why.
            KeyboardInterrupt: it was interrupted.
        """
        monitor = _make_monitor(self._library.module, progress or (lambda share: None))
        self._config.progress_monitor = monitor
        with _timing_cache(self._config, timing_cache):
            engine = self._builder.build_serialized_network(self._network, self._config)
        if monitor.interrupted:
            raise KeyboardInterrupt
        if engine is None:
            raise EngineError(
                f"TensorRT {self._library.version} could not build {self.graph}: "
                f"{self._log.reason()}. Try another `--precision`, or please report this."
            )
        return bytes(engine)


def _creation_flags(library: Library) -> int:
    """Ask for a strongly typed network where there is another kind.

    TensorRT has no other from 11 on, and deprecates the flag.
    """
    if int(library.version.split(".")[0]) >= 11:
        return 0
    return 1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


@contextmanager
def _timing_cache(config: Any, path: Path | None) -> Iterator[None]:
    """Give the builder the measurements of earlier builds, and keep what it adds."""
    if path is None:
        yield
        return
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if cache is None or not config.set_timing_cache(cache, False):
        _logger.warning("%s is damaged, or not of this GPU: it is written anew", path)
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    yield
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, bytes(config.get_timing_cache().serialize()))
    except OSError as error:  # only the next build is slower for it
        _logger.warning("the timing cache %s could not be kept: %s", path, error)


def _make_monitor(trt: Any, progress: Progress) -> Any:
    """An IProgressMonitor that turns nested phases into one growing share."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # as above
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self._lock = threading.Lock()
            # phase → (parent, steps, steps done)
            self._phases: dict[str, tuple[str | None, int, int]] = {}
            self._told = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._phases[phase_name] = (parent_phase, max(1, num_steps), 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                parent, steps, _ = self._phases.get(phase_name, (None, 1, 0))
                self._phases[phase_name] = (parent, steps, min(step + 1, steps))
            return self._tell()

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._phases.pop(phase_name, None)

        def _tell(self) -> bool:
            with self._lock:
                roots = [name for name, (parent, *_) in self._phases.items() if parent is None]
                share = max((self._share(name) for name in roots), default=0.0)
                self._told = max(self._told, min(1.0, share))
            try:
                progress(self._told)
            except KeyboardInterrupt:
                self.interrupted = True
            return not self.interrupted  # False asks TensorRT to stop

        def _share(self, name: str) -> float:
            """Steps done, and of a running one as much as its own phases have done."""
            _, steps, done = self._phases[name]
            inner = [self._share(k) for k, (parent, *_) in self._phases.items() if parent == name]
            within = max(inner, default=0.0) if done < steps else 0.0
            return (done + within) / steps

    return Monitor()
