"""The judge of a model repository: `cxrexport check`, `cxrclient doctor` and `serve` all ask it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cxrclient.files import read_regular, sha256_of
from cxrclient.serving.machine import Gpu
from cxrclient.serving.passports import (
    MOST_BYTES,
    PASSPORT,
    PLAN,
    PassportUnreadable,
    machine_faults,
    passport_faults,
    read_passport,
)
from cxrclient.serving.plans import file_named, served_graphs
from cxrclient.serving.record import RECORD, RepositoryRecord, read_record
from cxrclient.serving.shipped import own_repository

_GRAPH = "model.onnx"
_REFERENCE = "admission/1/reference.json"

RepositoryPart = Literal["graphs", "record", "reference", "int8", "files", "plans"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing in a repository that is not as it must be.

    Attributes:
        model: whose it is; `repository` where it is of no single one.
        file: relative to the repository.
        what: is wrong with it; reads on after the file's name.
    """

    model: str
    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


def repository_faults(
    repository: Path,
    parts: Collection[RepositoryPart],
    *,
    graphs: Sequence[str] | None = None,
    configuration: str = "config.pbtxt",
    gpus: Sequence[Gpu] = (),
    tensorrt_version: str | None = None,
) -> list[Fault]:
    """List what is wrong with a repository, from its files alone.

    Args:
        repository: its folder.
        parts: what to look at: `graphs`, each of which must be the one that was recorded; `record`,
            the recorded configurations, steps and digest; `reference`, the gate's; `int8`, what is
            recorded of that variant; `files` that the configurations name, which must be there;
            `plans`, each of which must be the one that its passport describes, of its graph, and
            for this machine. A plan that is not there is no fault of the plans: most machines need
            none.
        graphs: models to look at; None takes those that are recorded or configured.
        configuration: which of each model's names the files; see `device.configuration_name`.
        gpus: of the machine that serves; empty where they are not known.
        tensorrt_version: of the server that loads the plans; None where it is not known.
    """
    faults: list[Fault] = []
    if not {"graphs", "record", "reference", "int8"}.isdisjoint(parts):
        faults += _unlike_record(repository, parts, graphs)
    if "files" in parts:
        faults += _missing_files(repository, configuration)
    if "plans" in parts:
        for graph in served_graphs(repository) if graphs is None else graphs:
            if (repository / graph / "1" / PLAN).is_file():
                found = _plan_faults(repository, graph, gpus, tensorrt_version)
                faults += (Fault(graph, f"{graph}/1/{PLAN}", what) for what in found)
    return faults


def _unlike_record(
    repository: Path, parts: Collection[RepositoryPart], graphs: Sequence[str] | None
) -> Iterator[Fault]:
    try:
        record = read_record(repository)
        if "graphs" in parts:
            yield from _graph_faults(repository, record.graphs, graphs)
        if record.files is None and "record" in parts:
            yield from _missing_steps(repository)
        elif record.files is not None and not {"record", "int8"}.isdisjoint(parts):
            for fault in generated_faults(repository, record.files):
                if ("int8" if "int8" in fault.file else "record") in parts:
                    yield fault
        digest, _ = record.follow()
        if "record" in parts and record.digest != digest:
            what = f"model_digest is {record.digest[:12]}…, it follows {digest[:12]}…"
            yield Fault("repository", RECORD, what)
        if "reference" in parts:
            yield from _reference_faults(repository, record, {record.digest, digest})
        if "int8" in parts:
            yield from _int8_faults(repository, record)
    except FileNotFoundError:
        yield Fault("repository", RECORD, "is missing")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield Fault("repository", RECORD, f"cannot be read ({type(error).__name__}: {error})")


def _missing_steps(repository: Path) -> Iterator[Fault]:
    """Steps that a repository lacks whose record does not list its generated files."""
    for config in sorted(repository.glob("*/config.pbtxt")):
        step = config.parent / "1" / "model.py"
        is_step = b'\nbackend: "python"' in read_regular(config, MOST_BYTES)
        if is_step and not step.is_file():
            file = step.relative_to(repository).as_posix()
            yield Fault(config.parent.name, file, "is missing; build the repository again")


def _graph_faults(
    repository: Path, recorded: Mapping[str, str], graphs: Sequence[str] | None
) -> Iterator[Fault]:
    for graph in recorded if graphs is None else graphs:
        file = f"{graph}/1/{_GRAPH}"
        if graph not in recorded:
            yield Fault(graph, file, f"has no sha256 in {RECORD}; build the repository again")
        elif what := _unlike(repository / file, recorded[graph], "build the repository"):
            yield Fault(graph, file, what)


def _unlike(path: Path, recorded: str, mend: str) -> str | None:
    """Say whether a file is not the one that was recorded by its sha256 (hex)."""
    if not path.is_file():
        return f"is missing; {mend} again"
    found = sha256_of(path)
    return None if found == recorded else f"has sha256 {found[:12]}…, recorded is {recorded[:12]}…"


def generated_faults(repository: Path, files: Mapping[str, str]) -> Iterator[Fault]:
    """List the generated files that are not as they must be, and those that must not be there.

    A step that is this cxr-triton's own is right in every repository.

    Args:
        repository: its folder.
        files: each generated file, relative to the repository → sha256, hex.
    """
    for name, digest in files.items():
        model = name.split("/")[0] if "/" in name else "repository"
        ours, what = own_repository() / name, _unlike(repository / name, digest, "build it")
        if what is not None and name.endswith("/1/model.py") and ours.is_file():
            command = shlex.join(["cp", str(ours), str(repository / name)])
            is_ours = _unlike(repository / name, sha256_of(ours), "") is None
            what = None if is_ours else f"{what}; `{command}` puts cxr-triton's step in place"
        if what is not None:
            yield Fault(model, name, what)
    models = {name.split("/")[0] for name in files if "/" in name}
    for path in sorted(path for path in repository.iterdir() if path.is_dir()):
        if path.name not in models:
            what = "is no model of this repository, but Triton loads it; remove it"
            yield Fault(path.name, path.name, what)
        for config in sorted(path.glob("configs/*.pbtxt")):
            name = config.relative_to(repository).as_posix()
            if name not in files:
                yield Fault(path.name, name, "is not generated; Triton may prefer it")


def _reference_faults(
    repository: Path, record: RepositoryRecord, model_digests: Collection[str]
) -> Iterator[Fault]:
    """Compare the gate's reference that lies in a repository with the recorded one."""
    path, again = repository / _REFERENCE, "run `cxrexport admission`"
    recorded = record.spec.get("reference")
    if recorded is None:
        what = f"is not recorded; {again}, or remove it" if path.exists() else None
    else:
        what = _unlike(path, recorded["sha256"], again)
        if what is None and recorded["model_digest"] not in model_digests:
            what = f"was fitted to other graphs; {again} again"
    if what:
        yield Fault("admission", _REFERENCE, what)


def _int8_faults(repository: Path, record: RepositoryRecord) -> Iterator[Fault]:
    """Compare the int8 graphs that lie in a repository with the recorded ones."""
    again, quantised = "run `cxrexport quantise`", record.spec.get("quantised") or {}
    recorded = quantised["files"] if quantised else {}
    present = {path.relative_to(repository).as_posix() for path in repository.glob("*/1/*.int8.*")}
    for name in sorted(present - set(recorded)):
        yield Fault(name.split("/")[0], name, f"is not recorded; {again}, or remove it")
    for name, digest in recorded.items():
        what = _unlike(repository / name, digest, again)
        if what is None and quantised["model_digest"] != record.digest:
            what = f"was made from other graphs; {again} again"
        if what:
            yield Fault(name.split("/")[0], name, what)


def _missing_files(repository: Path, configuration: str) -> Iterator[Fault]:
    for config in sorted(repository.glob(f"*/{configuration}")):
        name = file_named(config)
        model = config.relative_to(repository).parts[0]
        if name is None:
            continue
        # OpenVINO's own format has its weights in a second file.
        weights = [f"{name.removesuffix('.xml')}.bin"] if name.endswith(".xml") else []
        for file in (name, *weights):
            if not (repository / model / "1" / file).is_file():
                yield Fault(model, f"{model}/1/{file}", "is missing")


def _plan_faults(
    repository: Path, graph: str, gpus: Sequence[Gpu], tensorrt_version: str | None
) -> Iterator[str]:
    folder = repository / graph / "1"
    try:
        passport = read_passport(folder / PASSPORT)
    except PassportUnreadable as error:
        yield f"may be of any graph and GPU: its passport {PASSPORT} {error}"
        return
    limit = _max_batch_size(repository)
    yield from passport_faults(passport, folder / PLAN, folder / _GRAPH, limit)
    yield from machine_faults(passport, gpus, tensorrt_version)


def _max_batch_size(repository: Path) -> int | None:
    """The films that Triton may send at once; None where the repository does not say."""
    try:
        return int(read_record(repository).spec["max_batch_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
