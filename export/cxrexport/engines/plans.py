"""A model repository → its engines, each with a passport; or none, where one of them fails."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cxrclient.files import beside, cannot_write, only_one, sha256_of, take_place, write_beside
from cxrclient.serving import (
    BARS,
    FINER,
    Parity,
    Passport,
    read_passport,
    repository_faults,
)
from cxrexport.admission import Reference
from cxrexport.engines.builder import GraphBuilder, Profile
from cxrexport.engines.films import ParityFilms
from cxrexport.engines.library import (
    Library,
    Target,
    load_library,
    resolve_target,
)
from cxrexport.engines.networks import networks_to_build
from cxrexport.engines.parity import compare, judge_films
from cxrexport.engines.precision import Precision, emulated
from cxrexport.engines.request import EngineRequest, why_needed
from cxrexport.ensemble import Arrays, EngineGraphs, Ensemble, Graphs, OnnxGraphs
from cxrexport.errors import EngineError, RepositoryError
from cxrexport.repository.check import read_repository
from cxrexport.repository.reference import REFERENCE
from cxrexport.repository.spec import RepositorySpec
from cxrexport.repository.write import graph_hashes

Films = Callable[[], ParityFilms]
"""Called when films are needed."""
GraphProgress = Callable[[str, float], None]


@dataclass(frozen=True)
class EnginesBuilt:
    """What was done.

    Attributes:
        built: graph → why it was needed.
        passports: of every graph, those that were kept too.
    """

    built: Mapping[str, str]
    passports: Mapping[str, Passport]


@dataclass(frozen=True)
class _Work:
    """What stays the same through one run."""

    request: EngineRequest
    spec: RepositorySpec
    library: Library
    target: Target
    profile: Profile
    hashes: Mapping[str, str]
    gate: Reference | None


@dataclass(frozen=True)
class _Judged:
    """The films that parity is measured on, and what the fp32 graphs say of them."""

    films: ParityFilms
    answers: list[Arrays]


def build_engines(
    request: EngineRequest,
    films: Films | None = None,
    progress: GraphProgress = lambda graph, share: None,
) -> EnginesBuilt:
    """Build the engines that are missing or do not fit, and measure all of them together.

    Nothing takes its place before everything is built and within the bars.

    Args:
        request: what to build.
        films: what parity is measured on; None leaves it out, and the passports say so.
        progress: told a graph's name and the share of its build that is done.

    Raises:
        EngineError: they cannot be built, kept or trusted; nothing is changed then.
        RepositoryError: there is no whole repository to build from.
    """
    work = _prepare(request)
    graphs = work.spec.graphs
    busy = EngineError(
        f"another `cxrexport engines` is building for {request.repository}: wait for it to end"
    )
    with only_one(request.repository, busy):
        try:
            needed = {}
            for graph in graphs:
                why = why_needed(request, graph, work.library, work.target, work.profile)
                if why is not None:
                    needed[graph] = why
            if not needed:
                return EnginesBuilt({}, {graph: _kept(request, graph) for graph in graphs})
            return _build(work, needed, films, progress)
        finally:  # also of a build that was killed
            for graph in graphs:
                for path in (request.engine(graph), request.passport(graph)):
                    beside(path).unlink(missing_ok=True)


def _prepare(request: EngineRequest) -> _Work:
    spec, recorded, _ = read_repository(request.repository)
    hashes = graph_hashes(request.repository, spec)
    for graph in spec.graphs:
        if hashes.get(graph) is None or hashes[graph] != recorded.get(graph):
            raise RepositoryError(
                f"{request.onnx(graph)} is not the graph that the repository was built with: run "
                f"`cxrexport check --repository {request.repository}`"
            )
    maximum = request.max_batch or spec.max_batch_size
    if maximum < spec.max_batch_size:
        raise EngineError(
            f"the configuration sends up to {spec.max_batch_size} films at once, and Triton "
            f"refuses a plan for {maximum}: leave --max-batch out"
        )
    try:
        profile = Profile(request.preferred_batch or maximum, maximum)
    except ValueError as error:
        raise EngineError(f"{error}; see --preferred-batch") from error
    # First: on a driver that is too old the library may not load either, and say something else.
    target = resolve_target(request.architecture)
    library = load_library()
    return _Work(request, spec, library, target, profile, hashes, _gate(request, spec))


def _gate(request: EngineRequest, spec: RepositorySpec) -> Reference | None:
    """Read what the served gate compares films with."""
    if spec.reference is None:
        return None
    for fault in repository_faults(request.repository, {"reference"}):
        raise RepositoryError(f"{request.repository / fault.file} {fault.what}")
    return Reference.from_json((request.repository / REFERENCE).read_bytes())


def _kept(request: EngineRequest, graph: str) -> Passport:
    return read_passport(request.passport(graph))


def _build(
    work: _Work, needed: Mapping[str, str], films: Films | None, progress: GraphProgress
) -> EnginesBuilt:
    request = work.request
    # Emulation runs the whole ensemble; without it, the engines' own networks are enough.
    graphs = _onnx(work, needed if films is None else work.spec.graphs)
    networks = networks_to_build(graphs, request.precision)
    # Parsed first: an operation that TensorRT does not know is told before anything takes minutes.
    builders = {
        graph: GraphBuilder(
            work.library, work.target, graph, networks[graph], work.spec.edges(graph), work.profile
        )
        for graph in needed
    }
    judged = None if films is None else _judged(work, films())
    emulation = None if judged is None else _emulation(work, networks, judged)
    made: dict[str, Passport] = {}
    for graph, builder in builders.items():
        made[graph] = _build_one(work, graph, builder, networks[graph], progress)
    passports = {graph: made.get(graph) or _kept(request, graph) for graph in work.spec.graphs}
    parity = None if judged is None else _parity(work, made, judged)
    reason = None if judged is not None else "measured on no film"
    passports = {
        graph: replace(
            passport,
            parity=parity,
            parity_reason=reason,
            parity_engines=(
                None if parity is None else {g: p.engine_sha256 for g, p in passports.items()}
            ),
            emulated_parity=emulation,
            emulated_parity_reason=reason,
        )
        for graph, passport in passports.items()
    }
    _take_places(request, list(made), passports)
    return EnginesBuilt(needed, passports)


def _onnx(work: _Work, graphs: Iterable[str]) -> dict[str, bytes]:
    return {graph: work.request.onnx(graph).read_bytes() for graph in graphs}


def _judged(work: _Work, films: ParityFilms) -> _Judged:
    ensemble = Ensemble(OnnxGraphs(_onnx(work, work.spec.graphs)), work.spec.members)
    return _Judged(films, judge_films(ensemble, films.images, work.gate))


def _emulation(work: _Work, networks: Mapping[str, bytes], judged: _Judged) -> Parity:
    """Measure the precision before engines are built: what is wrong with it, they would have too.

    Raises:
        EngineError: it is not within the bars.
    """
    import onnx

    precision = work.request.precision
    models = {
        graph: emulated(onnx.load_from_string(model)).SerializeToString()
        for graph, model in networks.items()
    }
    parity = _compare(work, OnnxGraphs(models), judged)
    _require_bars(parity, f"{precision}, computed in ONNX Runtime,", precision)
    return parity


def _compare(work: _Work, graphs: Graphs, judged: _Judged) -> Parity:
    ensemble = Ensemble(graphs, work.spec.members)
    found = judge_films(ensemble, judged.films.images, work.gate)
    return compare(judged.answers, found, work.spec.threshold, judged.films.real)


def _require_bars(parity: Parity, what: str, precision: Precision) -> None:
    if not parity.passed:
        finer = FINER[precision]
        mend = "" if finer == precision else f"take `--precision {finer}`, or "
        raise EngineError(
            f"{what} differs from the fp32 graphs by more than {BARS}: {parity}. No engine was put "
            f"in place: {mend}name films of your own with `--manifest CSV`."
        )


def _build_one(
    work: _Work, graph: str, builder: GraphBuilder, network: bytes, progress: GraphProgress
) -> Passport:
    """Build one engine beside its place, and return its passport so far."""
    request, target = work.request, work.target
    timing = f"timing-{work.library.version}-{target.compute_capability or 'gpu'}.cache"
    started = time.monotonic()
    engine = builder.build(lambda share: progress(graph, share), request.timing_folder / timing)
    build_s = time.monotonic() - started
    progress(graph, 1.0)
    path = request.engine(graph)
    try:
        write_beside(path, engine)
    except OSError as error:
        raise _unwritable(path, error) from error
    return Passport(
        graph=graph,
        engine_sha256=sha256_of(engine),
        onnx_sha256=work.hashes[graph],
        network_sha256=sha256_of(network),
        tensorrt_version=work.library.version,
        architecture=request.architecture,
        compute_capability=target.compute_capability,
        gpu=None if target.gpu is None else target.gpu.name,
        precision=request.precision,
        profile=builder.profile,
        max_batch=work.profile.maximum,
        engine_bytes=len(engine),
        build_s=round(build_s, 2),
        built_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _parity(work: _Work, made: Mapping[str, Passport], judged: _Judged) -> Parity:
    """Run the engines on this machine's GPU.

    Raises:
        EngineError: they are not within the bars.
    """
    request = work.request
    engines = {
        graph: beside(request.engine(graph)) if graph in made else request.engine(graph)
        for graph in work.spec.graphs
    }
    with EngineGraphs(engines) as graphs:
        parity = _compare(work, graphs, judged)
    _require_bars(parity, "the ensemble of these engines", request.precision)
    return parity


def _take_places(
    request: EngineRequest, built: list[str], passports: Mapping[str, Passport]
) -> None:
    """Put engines, then passports, in their places; all are written beside them first.

    Between the two a passport does not describe its engine; that is seen by the sha256, and the
    next run builds it again.
    """
    path = request.repository
    try:
        for graph, passport in passports.items():
            path = request.passport(graph)
            write_beside(path, passport.to_json().encode())
        for path in (*map(request.engine, built), *map(request.passport, passports)):
            take_place(beside(path), path)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> EngineError:
    with suppress(OSError):
        beside(path).unlink(missing_ok=True)
    return EngineError(f"{cannot_write(path, error)} Then run the same command again.")
