"""The judge of a model repository: `cxrexport check`, `cxrclient doctor` and `serve` all ask it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cxrclient.files import parse_json, read_regular, sha256_of
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
from cxrclient.wire import Admission

_RECORD = "repository.json"
_GRAPH = "model.onnx"
_ADMISSION = re.compile(r'key: "admission"\s*value \{\s*string_value: "((?:[^"\\]|\\.)*)"')

RepositoryPart = Literal["graphs", "files", "plans"]


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


@dataclass(frozen=True, slots=True)
class RepositoryRecord:
    """What `cxrexport build` recorded of a repository in its repository.json.

    Attributes:
        spec: what it was built to be.
        graphs: model → sha256 of its model.onnx, hex.
        digest: of the whole model.
    """

    spec: Mapping[str, Any]
    graphs: Mapping[str, str]
    digest: str


def has_record(repository: Path) -> bool:
    """Whether a repository has a record; those of before it had none."""
    return (repository / _RECORD).exists()


def read_record(repository: Path) -> RepositoryRecord:
    """Read a repository's own record.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    content = parse_json(read_regular(repository / _RECORD, MOST_BYTES))
    try:
        graphs = {str(graph): str(digest) for graph, digest in content["graphs"].items()}
        return RepositoryRecord(dict(content["spec"]), graphs, str(content["model_digest"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def read_admission(repository: Path) -> Admission:
    """Read the gate's codes from the ensemble's configuration, as a server tells them.

    Raises:
        OSError: the configuration cannot be read.
        ValueError: it has no codes, or they are damaged.
    """
    text = read_regular(repository / "cxr" / "config.pbtxt", MOST_BYTES).decode()
    found = _ADMISSION.search(text)
    if found is None:
        raise ValueError("no admission")
    # Protobuf's escapes of text are C's, and are of bytes.
    told = found[1].encode().decode("unicode_escape").encode("latin-1").decode()
    return Admission.from_parameter(told)


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
        parts: what to look at: `graphs`, each of which must be the one that was recorded;
            `files` that the configurations name, which must be there; `plans`, each of which must
            be the one that its passport describes, of its graph, and for this machine. A plan that
            is not there is no fault of the plans: most machines need none.
        graphs: models to look at; None takes those that are recorded or configured.
        configuration: which of each model's names the files; see `device.configuration_name`.
        gpus: of the machine that serves; empty where they are not known.
        tensorrt_version: of the server that loads the plans; None where it is not known.
    """
    faults: list[Fault] = []
    if "graphs" in parts:
        faults += _graph_faults(repository, graphs)
    if "files" in parts:
        faults += _missing_files(repository, configuration)
    if "plans" in parts:
        for graph in served_graphs(repository) if graphs is None else graphs:
            if (repository / graph / "1" / PLAN).is_file():
                found = _plan_faults(repository, graph, gpus, tensorrt_version)
                faults += (Fault(graph, f"{graph}/1/{PLAN}", what) for what in found)
    return faults


def _graph_faults(repository: Path, graphs: Sequence[str] | None) -> Iterator[Fault]:
    try:
        recorded = read_record(repository).graphs
    except FileNotFoundError:
        yield Fault("repository", _RECORD, "is missing")
        return
    except (OSError, ValueError) as error:
        yield Fault("repository", _RECORD, f"cannot be read ({error})")
        return
    for graph in recorded if graphs is None else graphs:
        file = f"{graph}/1/{_GRAPH}"
        if not (repository / file).is_file():
            yield Fault(graph, file, "is missing; build the repository again")
        elif graph not in recorded:
            yield Fault(graph, file, f"has no sha256 in {_RECORD}; build the repository again")
        elif (found := sha256_of(repository / file)) != recorded[graph]:
            what = f"has sha256 {found[:12]}…, recorded is {recorded[graph][:12]}…"
            yield Fault(graph, file, what)


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
