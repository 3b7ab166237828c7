"""Does what is served here fit together: machine, repository, engine passports, running server?

Read only, and from JSON: no exporter, no ONNX, no TensorRT is needed. A running server is asked
with the drawn film that it warms up with.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cxrclient.errors import AccessDenied, ServerError, ServerUnfit, ServerUnreachable, TlsFailed
from cxrclient.files import read_regular
from cxrclient.films import MAX_FILE_BYTES
from cxrclient.serving.machine import Gpu, cpu, driver_lack, gpus, has_nvidia_gpu, tensorrt_versions
from cxrclient.serving.passports import (
    PASSPORT,
    PLAN,
    Passport,
    PassportUnreadable,
    read_passport,
)
from cxrclient.serving.plans import engines_command, served_graphs, unverified_plans
from cxrclient.serving.record import RepositoryRecord, read_record
from cxrclient.serving.repository import repository_faults
from cxrclient.serving.shipped import no_repository
from cxrclient.serving.step_answers import ask_every_instance
from cxrclient.wire import Endpoint, EnsembleInfo, Finding, ServedModel, Transport, submit

State = Literal["ok", "note", "unverified", "wrong"]

WARMUP_FILM = Path("preprocess", "warmup", "film.bytes")
"""Below a repository: the film that its server warms up with, behind its length."""
_LENGTH_BYTES = 4
_BUSY = frozenset({"TIMEOUT", "SERVER_BUSY"})


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's table.

    Attributes:
        subject: what was looked at.
        verdict: `wrong` needs mending; `unverified` may be right, but nothing proves it.
        finding: in words.
        mend: the one command that mends it, for a shell; None where there is nothing to mend.
    """

    subject: str
    verdict: State
    finding: str
    mend: str | None = None


def examine(repository: Path, server: Endpoint, *, server_wanted: bool) -> list[Check]:
    """Look at everything, and return what was found.

    Args:
        repository: the model repository.
        server: a server's gRPC endpoint, and what it takes to get in.
        server_wanted: whether it is wrong that none answers there.
    """
    here = gpus()
    record = _record(repository)
    checks = [*_machine(here), _repository(repository, record), *_plans(repository, here)]
    return [*checks, *_server(server, repository, record, wanted=server_wanted)]


def _machine(here: tuple[Gpu, ...]) -> Iterator[Check]:
    processor = cpu()
    precisions = "f32 and bf16" if processor.bf16 else "f32 (it has no bf16 instructions)"
    int8 = "has" if processor.int8 else "lacks"
    yield Check(
        "CPU",
        "ok",
        f"{processor.name}: OpenVINO computes in {precisions}; it {int8} int8 instructions",
    )
    if here:
        drivers = " and ".join(sorted({gpu.driver for gpu in here if gpu.driver}))
        found = f"{', '.join(map(str, here))}, driver {drivers or 'unknown'}"
        lack = driver_lack(here)
        yield Check("GPU", "wrong" if lack else "ok", f"{found}; {lack}" if lack else found)
        versions = tensorrt_versions()
        if len(versions) == 1:
            yield Check("TensorRT", "ok", f"{versions[0]} in this system, its server's")
        else:
            several = " and ".join(versions) or "none"
            yield Check("TensorRT", "note", f"{several} in this system; plans cannot be compared")
    elif has_nvidia_gpu():
        what = "the driver knows a GPU, but nvidia-smi tells nothing: plans cannot be compared"
        yield Check("GPU", "note", what)
    else:
        yield Check("GPU", "note", "none; the graphs are served on the CPU")


def _record(repository: Path) -> RepositoryRecord | None:
    """What was recorded of the repository; None where nothing can be read."""
    try:
        return read_record(repository)
    except (OSError, ValueError):
        return None


def _repository(repository: Path, record: RepositoryRecord | None) -> Check:
    subject = "repository"
    rebuild = shlex.join(["cxrexport", "build", "--repository", str(repository), "--run", "RUN"])
    if not repository.is_dir():
        return Check(subject, "wrong", no_repository(repository))
    if record is None:
        finding = f"{repository} has no repository.json that can be read"
        return Check(subject, "wrong", finding, rebuild)
    if faults := repository_faults(repository, {"graphs", "record", "reference", "int8"}):
        return Check(subject, "wrong", "; ".join(map(str, faults)), rebuild)
    name, digest = record.spec.get("model_name"), record.digest[:12]
    try:
        told = record.spec.get("finding")
        finding = "" if told is None else f", finding {Finding(**told)}"
    except (TypeError, ValueError) as error:
        return Check(subject, "wrong", f"{repository}: its finding cannot be ({error})", rebuild)
    found = f"{repository}: model {name}{finding}, digest {digest}, graphs as built"
    if record.files is None:
        found += "; configurations and steps are not recorded: `cxrexport check` compares them"
    return Check(subject, "ok", found)


def _plans(repository: Path, here: tuple[Gpu, ...]) -> Iterator[Check]:
    graphs = served_graphs(repository) if repository.is_dir() else []
    present = [graph for graph in graphs if (repository / graph / "1" / PLAN).is_file()]
    if not present:
        if not here:
            yield Check("plans", "note", "none, and a CPU needs none")
        else:
            finding = "none: this machine's GPU would stay idle"
            yield Check("plans", "wrong", finding, engines_command(repository))
        return
    versions = tensorrt_versions()
    version = versions[0] if len(versions) == 1 else None
    faults = repository_faults(repository, {"plans"}, gpus=here, tensorrt_version=version)
    doubts = unverified_plans(repository)
    for graph in graphs:
        subject = f"{graph}/1/{PLAN}"
        found = [fault.what for fault in faults if fault.model == graph]
        passport = _passport(repository, graph)
        if graph not in present:
            yield Check(subject, "wrong", "is missing", engines_command(repository))
        elif found:
            yield Check(subject, "wrong", "; ".join(found), engines_command(repository))
        elif passport is not None:
            yield _plan(subject, repository, passport, doubts.get(graph), here)


def _passport(repository: Path, graph: str) -> Passport | None:
    try:
        return read_passport(repository / graph / "1" / PASSPORT)
    except PassportUnreadable:
        return None


def _plan(
    subject: str,
    repository: Path,
    passport: Passport,
    doubt: str | None,
    here: tuple[Gpu, ...],
) -> Check:
    """Judge a plan without fault; `doubt` says why it is unverified."""
    made = f"{passport.precision}, TensorRT {passport.tensorrt_version}, {passport.architecture}"
    if doubt is not None:
        mend = engines_command(repository, passport.precision) + " --force"
        return Check(subject, "unverified", f"of its graph ({made}); unverified: {doubt}", mend)
    others = {gpu.name for gpu in here} - {passport.gpu}
    if here and passport.architecture == "current" and others:
        finding = f"built on {passport.gpu}, and tuned for it; this machine has {', '.join(others)}"
        return Check(subject, "note", finding)
    return Check(subject, "ok", f"of its graph ({made}); {passport.parity}")


def _server(
    address: Endpoint, repository: Path, record: RepositoryRecord | None, *, wanted: bool
) -> Iterator[Check]:
    subject = f"server {address}"
    start = shlex.join(["cxrclient", "serve", "--model-repository", str(repository)])
    graphs = [] if record is None else list(record.graphs)
    try:
        info, version, models = submit(_ask, address, graphs).result()
    except ServerUnreachable:
        verdict: State = "wrong" if wanted else "note"
        yield Check(subject, verdict, "none answers there", start if wanted else None)
        return
    except (TlsFailed, AccessDenied) as error:
        yield Check(subject, "wrong", error.message)
        return
    except ServerUnfit as error:
        yield Check(subject, "wrong", error.message, start)
        return
    if record and info.digest != record.digest:
        finding = (
            f"Triton {version} serves {info.name} with digest {info.digest[:12]}, the repository "
            f"has {record.digest[:12]}: stop it and start it on the repository"
        )
        yield Check(subject, "wrong", finding, start)
    elif record and info.threshold != record.spec.get("threshold"):
        finding = (
            f"Triton {version} serves the threshold {info.threshold:g}, the repository says "
            f"{record.spec.get('threshold')}: stop it and start it on the repository"
        )
        yield Check(subject, "wrong", finding, start)
    else:
        finding = f"Triton {version} serves {info.name}, digest {info.digest[:12]}"
        yield Check(subject, "ok", finding)
    served = list(_served(subject, graphs, models, start))
    yield from served
    if served[-1].verdict == "ok":
        other = record is None or info.digest != record.digest
        yield _steps(address, repository, start, other=other)


def _steps(address: Endpoint, repository: Path, start: str, *, other: bool) -> Check:
    """Whether a film gets through every instance of every step: a server does not tell."""
    subject = f"steps of {address}"
    path = repository / WARMUP_FILM
    if other:
        return Check(subject, "note", f"asked with no film: it does not serve {repository}")
    try:
        film = read_regular(path, MAX_FILE_BYTES)[_LENGTH_BYTES:]
    except OSError:
        return Check(subject, "note", f"asked with no film: {path} cannot be read")
    try:
        found = submit(ask_every_instance, address, film).result()
    except ServerError as error:
        return Check(subject, "wrong", error.message, start)
    sentences = " ".join(failure.message for failure in found.failures)
    if {failure.code for failure in found.failures} - _BUSY:
        return Check(subject, "wrong", sentences, start)
    if found.failures:
        return Check(subject, "unverified", f"the server is busy: {sentences}")
    instances = ", ".join(f"{step} {n}" for step, n in found.instances.items() if n > 1)
    finding = f"all have answered {found.films} times (instances: {instances or '1 each'})"
    if not found.alone:
        finding += "; others send films too, so that some instance may have had none of these"
    return Check(subject, "ok", finding)


def _served(
    subject: str, graphs: list[str], models: Mapping[str, ServedModel], start: str
) -> Iterator[Check]:
    idle = [graph for graph in graphs if graph not in models or not models[graph].ready]
    if idle:
        yield Check(subject, "wrong", f"does not serve {', '.join(idle)}; its log says why", start)
        return
    backends = ", ".join(sorted({model.backend for model in models.values()}))
    finding = f"the graphs run in {backends}"
    if "tensorrt" in backends:
        # Its metadata tells no library's version, but TensorRT loads no plan of another one.
        finding += ", which has loaded the plans: they are of its TensorRT and its GPU"
    yield Check(subject, "ok", finding)


async def _ask(
    address: Endpoint, graphs: list[str]
) -> tuple[EnsembleInfo, str, dict[str, ServedModel]]:
    transport = Transport(address, timeout_s=10.0)
    try:
        info = await transport.ensemble()
        return info, *await transport.models(graphs)
    finally:
        await transport.close()
