"""Is a model repository whole, and what it says it is?"""

from __future__ import annotations

import importlib.util
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrclient.files import parse_json, sha256_of
from cxrclient.serving import (
    PLAN,
    RECORD,
    Fault,
    data_path,
    engines_command,
    generated_faults,
    no_repository,
    read_record,
    repository_faults,
)
from cxrexport.ensemble import AVERAGE
from cxrexport.errors import RepositoryError
from cxrexport.repository.spec import Edges, RepositorySpec
from cxrexport.repository.write import generated_files

__all__ = [
    "Fault",
    "PlanNeeded",
    "check_repository",
    "graphs_can_be_opened",
    "plans_needed",
    "read_repository",
]

_EARLIER_STEPS = {
    "5957da1b765c0804c83fb86a8d7106b1567540d9abd079dad264deb5b19d6379",
    "433678ef147e97dfe4634c09820db008f64afae573e40b5932b57d8fc6d8d9f2",
}
"""sha256 (hex) of steps that cxr-triton wrote before and that still serve, as a test proves."""
_ONNX_TYPES = {"FP32": "FLOAT", "INT32": "INT32"}


@dataclass(frozen=True)
class PlanNeeded:
    """A TensorRT plan that a GPU node still has to build."""

    file: str
    """Relative to the repository."""
    command: str
    """Makes it, and all others that are needed, on the machine that will serve it."""


def read_repository(directory: Path) -> tuple[RepositorySpec, dict[str, str], str]:
    """Return the spec, the recorded hash of each graph, and the recorded model digest.

    Raises:
        RepositoryError: the directory has no `repository.json`, or one that cannot be read.
    """
    path = Path(directory) / RECORD
    try:
        record = read_record(path.parent)
        return RepositorySpec.from_dict(dict(record.spec)), dict(record.graphs), record.digest
    except FileNotFoundError as error:
        if not path.parent.is_dir():
            raise RepositoryError(f"{no_repository(path.parent)}.") from error
        raise RepositoryError(
            f"{path} is not there; build a repository with `cxrexport build --repository "
            f"{directory}`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RepositoryError(
            f"{path} cannot be read ({type(error).__name__}: {error}); build the repository again"
        ) from error


def graphs_can_be_opened() -> bool:
    """Say whether onnx is installed; serving does not need it."""
    return importlib.util.find_spec("onnx") is not None


def check_repository(directory: Path, *, open_graphs: bool = True) -> list[Fault]:
    """Compare a repository with what its own spec and hashes say, and return every difference.

    Args:
        directory: the repository.
        open_graphs: look into the graphs as well, which needs onnx; their hashes are compared
            in any case.

    Raises:
        RepositoryError: there is no readable `repository.json` to compare with, or onnx is not
            installed and `open_graphs` asks for it.
    """
    directory = Path(directory)
    spec, recorded, _ = read_repository(directory)
    generated = list(_wrong_generated(directory, spec, recorded))
    known = {fault.file for fault in generated}
    judged = repository_faults(
        directory, {"graphs", "record", "reference", "int8"}, graphs=spec.graphs
    )
    return [
        *generated,
        *(fault for fault in judged if fault.file not in known),
        *_wrong_plans(directory, spec),
        *(_wrong_graphs(directory, spec) if open_graphs else ()),
    ]


def plans_needed(directory: Path) -> list[PlanNeeded]:
    """Name the TensorRT plans that are absent or do not fit, each with the command that builds it.

    Plans belong to one GPU and one TensorRT version, so no repository can bring them.

    Raises:
        RepositoryError: there is no readable `repository.json`.
    """
    directory = Path(directory)
    graphs = read_repository(directory)[0].graphs
    wrong = {fault.model for fault in repository_faults(directory, {"plans"}, graphs=graphs)}
    return [
        PlanNeeded(f"{graph}/1/{PLAN}", engines_command(directory))
        for graph in graphs
        if graph in wrong or not (directory / graph / "1" / PLAN).is_file()
    ]


def _wrong_generated(
    directory: Path, spec: RepositorySpec, recorded: Mapping[str, str]
) -> Iterator[Fault]:
    """Compare with what this cxr-triton writes, whatever the record says of it."""
    expected = generated_files(spec, recorded)
    ours = _of_the_model(expected.pop(RECORD))
    if (found := _of_the_model((directory / RECORD).read_bytes())) != ours:
        yield Fault("repository", RECORD, _difference(found, ours))
    hashes = {name: sha256_of(content) for name, content in expected.items()}
    for fault in generated_faults(directory, hashes):
        path, content = directory / fault.file, expected.get(fault.file)
        if content is None or not path.is_file():
            yield fault
        else:
            what = _difference(path.read_bytes(), content) + _mend_of_step(path)
            yield Fault(fault.model, fault.file, what)


def _of_the_model(record: bytes) -> bytes:
    """Leave out of a record what follows from the rest, or was not recorded before."""
    content = parse_json(record)
    told = {name: content[name] for name in ("spec", "graphs", "model_digest")}
    return json.dumps(told, indent=2, ensure_ascii=False).encode()


def _mend_of_step(path: Path) -> str:
    """Name the command that brings a step up to date: every repository has the same."""
    if path.suffix != ".py":
        return ""
    name = Path(*path.parts[-3:])
    ours = data_path("model_repository", "model_repository") / name
    command = shlex.join(["cp", str(ours), str(path)])
    if sha256_of(path) in _EARLIER_STEPS:
        return (
            f". A step of an earlier cxr-triton still serves; `{command}` puts this one's in place"
        )
    return f". It is not this cxr-triton's step, and may not serve; `{command}` puts that in place"


def _difference(found: bytes, expected: bytes) -> str:
    """Say where two files part."""
    try:
        pairs = zip(found.decode().splitlines(), expected.decode().splitlines(), strict=False)
    except UnicodeDecodeError:
        return "is not what cxrexport writes"
    for number, (ours, theirs) in enumerate(pairs, start=1):
        if ours != theirs:
            return f"line {number} is {ours.strip()!r}; generated is {theirs.strip()!r}"
    return f"has {len(found)} bytes; generated has {len(expected)}"


def _wrong_plans(directory: Path, spec: RepositorySpec) -> Iterator[Fault]:
    """Plans that their passports do not vouch for: of a graph before, or of nobody knows which."""
    for fault in repository_faults(directory, {"plans"}, graphs=spec.graphs):
        yield Fault(fault.model, fault.file, f"{fault.what}; build it again")


def _wrong_graphs(directory: Path, spec: RepositorySpec) -> Iterator[Fault]:
    try:
        import onnx
    except ImportError as error:
        raise RepositoryError(
            "graphs are opened with onnx, which is not installed: run `pip install '.[train]'` in "
            "a checkout of cxr-triton, or put its wheel's path for the dot"
        ) from error
    from google.protobuf.message import DecodeError

    for graph in spec.graphs:
        name = f"{graph}/1/model.onnx"
        path = directory / name
        if not path.is_file():
            continue
        try:
            model = onnx.load(path)
            onnx.checker.check_model(model)
        except (DecodeError, onnx.checker.ValidationError) as error:
            reason = str(error).splitlines()[0]
            yield Fault(graph, name, f"is no valid ONNX graph: {reason}")
            continue
        for what in _wrong_edges(model, spec.edges(graph)):
            yield Fault(graph, name, what)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        trained_with = metadata.get("preprocessing_digest", "none")
        if trained_with != spec.preprocessing.digest:
            yield Fault(
                graph,
                name,
                f"was exported for preprocessing {trained_with[:12]}…, the repository's is "
                f"{spec.preprocessing.digest[:12]}…",
            )
        weights = metadata.get("weights", "fp16")
        if graph in spec.members and weights != spec.weights:
            what = f"stores its weights as {weights}, the repository says {spec.weights}"
            yield Fault(graph, name, what)
        if graph == AVERAGE and (wrong := _wrong_temperatures(metadata, spec)):
            yield Fault(graph, name, wrong)


def _wrong_temperatures(metadata: Mapping[str, str], spec: RepositorySpec) -> str | None:
    try:
        found = parse_json(metadata.get("temperatures", "null"))
    except ValueError as error:
        return f"says of its temperatures what is no JSON ({error})"
    expected = None if spec.calibration is None else list(spec.calibration.temperatures)
    if found == expected:
        return None
    return f"was exported with the temperatures {found}, the repository says {expected}"


def _wrong_edges(model: Any, edges: Edges) -> Iterator[str]:
    from onnx import TensorProto

    for kind, values, tensors in (
        ("input", model.graph.input, edges.inputs),
        ("output", model.graph.output, edges.outputs),
    ):
        found = {value.name: value.type.tensor_type for value in values}
        if list(found) != [tensor.name for tensor in tensors]:
            expected = ", ".join(tensor.name for tensor in tensors)
            yield f"has the {kind}s {', '.join(found)}; configured are {expected}"
            continue
        for tensor in tensors:
            edge = found[tensor.name]
            dtype = TensorProto.DataType.Name(edge.elem_type)
            if dtype != _ONNX_TYPES[tensor.dtype]:
                yield f"{kind} {tensor.name} is {dtype}; configured is {tensor.dtype}"
            batch, *dims = edge.shape.dim
            if batch.WhichOneof("value") == "dim_value":
                yield f"{kind} {tensor.name} has a fixed batch of {batch.dim_value}"
            if [dim.dim_value for dim in dims] != list(tensor.dims):
                sizes = [dim.dim_value or dim.dim_param or "?" for dim in dims]
                yield f"{kind} {tensor.name} is {sizes}; configured is {list(tensor.dims)}"
