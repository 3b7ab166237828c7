"""`cxrexport check` on real repositories, each with one thing wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from cxrclient.files import sha256_of
from cxrclient.serving.passports import Parity, Passport
from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.errors import RepositoryError
from cxrexport.repository import check_repository, plans_needed, read_repository, write_repository
from linked_copy import linked_copy

GRAPHS = graphs_of(DEFAULT_MEMBERS)


@pytest.fixture
def copy(model_repository: Path, tmp_path: Path) -> Path:
    """A copy whose files are shared until one is replaced (never written into)."""
    return linked_copy(model_repository, tmp_path / "repository")


def replace(path: Path, content: bytes) -> None:
    """Write a new file in place of a shared one."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    replace(path, text.replace(old, new, 1).encode())


def edit_graph(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(path)
    change(model)
    replace(path, model.SerializeToString())


def _rename_output(model: onnx.ModelProto) -> None:
    old = model.graph.output[0].name
    for node in model.graph.node:
        for number, name in enumerate(node.output):
            if name == old:
                node.output[number] = "RENAMED"
    model.graph.output[0].name = "RENAMED"


def _fix_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _forget_preprocessing(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def _claim_temperatures(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="temperatures", value="[1.5, 1.5, 1.5, 1.5]")


def _forget_reference(repository: Path) -> None:
    spec, _, _ = read_repository(repository)
    write_repository(dataclasses.replace(spec, reference=None), repository)


def _name_reference(repository: Path, **changes: str) -> None:
    spec, _, _ = read_repository(repository)
    assert spec.reference is not None
    named = dataclasses.replace(spec.reference, **changes)
    write_repository(dataclasses.replace(spec, reference=named), repository)


DAMAGE: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "an edited configuration": (
        lambda r: edit(r / "vgg16/configs/cpu.pbtxt", "NUM_STREAMS", "STREAMS"),
        "vgg16/configs/cpu.pbtxt",
        "NUM_STREAMS",
    ),
    "a missing configuration": (
        lambda r: (r / "segment/config.pbtxt").unlink(),
        "segment/config.pbtxt",
        "missing",
    ),
    "an edited preprocessing step": (
        lambda r: edit(r / "preprocess/1/model.py", "import close", "import ours, close"),
        "preprocess/1/model.py",
        "ours",
    ),
    "another warm-up film": (
        lambda r: replace(r / "preprocess/warmup/film.bytes", b"\x89"),
        "preprocess/warmup/film.bytes",
        "not what",
    ),
    "a configuration Triton would prefer": (
        lambda r: replace(r / "preprocess/configs/cpu.pbtxt", b""),
        "preprocess/configs/cpu.pbtxt",
        "prefer",
    ),
    "a model of another repository": (
        lambda r: replace(r / "densenet/config.pbtxt", b""),
        "densenet",
        "no model of this repository",
    ),
    "no version directory of the ensemble": (
        lambda r: shutil.rmtree(r / "cxr/1"),
        "cxr/1/README.md",
        "missing",
    ),
    "a missing graph": (
        lambda r: (r / "average/1/model.onnx").unlink(),
        "average/1/model.onnx",
        "missing",
    ),
    "a truncated graph": (
        lambda r: replace(
            r / "vgg16/1/model.onnx", (r / "vgg16/1/model.onnx").read_bytes()[:50_000]
        ),
        "vgg16/1/model.onnx",
        "no valid ONNX",
    ),
    "another graph": (
        lambda r: edit_graph(r / "vgg16/1/model.onnx", lambda m: setattr(m, "doc_string", "x")),
        "vgg16/1/model.onnx",
        "sha256",
    ),
    "a graph with another output": (
        lambda r: edit_graph(r / "segment/1/model.onnx", _rename_output),
        "segment/1/model.onnx",
        "RENAMED",
    ),
    "a graph with a fixed batch": (
        lambda r: edit_graph(r / "segment/1/model.onnx", _fix_batch),
        "segment/1/model.onnx",
        "fixed batch",
    ),
    "a graph that does not say its preprocessing": (
        lambda r: edit_graph(r / "resnet34/1/model.onnx", _forget_preprocessing),
        "resnet34/1/model.onnx",
        "preprocessing none",
    ),
    "an average with temperatures that the repository does not know": (
        lambda r: edit_graph(r / "average/1/model.onnx", _claim_temperatures),
        "average/1/model.onnx",
        "temperatures",
    ),
    "a model digest of something else": (
        lambda r: edit(r / "repository.json", '\n  "model_digest": "', '\n  "model_digest": "0'),
        "repository.json",
        "model_digest",
    ),
    "an edited admission step": (
        lambda r: edit(r / "admission/1/model.py", "import close", "import ours, close"),
        "admission/1/model.py",
        "ours",
    ),
    "an edited admission reference": (
        lambda r: edit(r / "admission/1/reference.json", '"farthest": ', '"farthest": 1'),
        "admission/1/reference.json",
        "sha256",
    ),
    "no admission reference": (
        lambda r: (r / "admission/1/reference.json").unlink(),
        "admission/1/reference.json",
        "missing",
    ),
    "an admission reference of other graphs": (
        lambda r: _name_reference(r, model_digest="0" * 64),
        "admission/1/reference.json",
        "other graphs",
    ),
    "an admission reference that nothing names": (
        _forget_reference,
        "admission/1/reference.json",
        "not recorded",
    ),
}


def test_a_repository_as_built_has_no_problem(copy: Path) -> None:
    assert check_repository(copy) == []


@pytest.mark.parametrize("damage", DAMAGE)
def test_one_thing_wrong_is_found_where_it_is(copy: Path, damage: str) -> None:
    act, file, word = DAMAGE[damage]
    act(copy)
    problems = check_repository(copy)
    assert any(p.file == file and word in p.what for p in problems), problems
    assert {p.file for p in problems} == {file}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"spec": {}}', b"\xff"])
def test_an_unreadable_manifest_is_one_error_that_says_what_to_do(
    copy: Path, content: bytes
) -> None:
    replace(copy / "repository.json", content)
    with pytest.raises(RepositoryError, match=r"repository\.json cannot be read .*build"):
        check_repository(copy)


def test_no_repository_is_one_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="cxrexport build"):
        check_repository(tmp_path)


def plan_of(copy: Path, graph: str, flavour: str = "tensorrt", **passport: object) -> None:
    """A file in a plan's place, with a passport of this graph; `passport` says otherwise."""
    folder = copy / graph / "1"
    replace(folder / "model.plan", b"stands for an engine, which only a GPU node can build")
    facts: dict[str, object] = {
        "graph": graph,
        "engine_sha256": sha256_of(folder / "model.plan"),
        "onnx_sha256": sha256_of(folder / "model.onnx"),
        "network_sha256": "",
        "tensorrt_version": "10.13.3.9",
        "architecture": "current",
        "compute_capability": "8.9",
        "gpu": "NVIDIA L4",
        "precision": "fp16",
        "profile": {},
        "max_batch": 16,
        "engine_bytes": 0,
        "build_s": 1.0,
        "built_at": "2026-01-01T00:00:00+00:00",
        **passport,
    }
    content = json.loads(Passport(**facts).to_json())  # type: ignore[arg-type]
    replace(folder / "engine.json", json.dumps(content | {"flavour": flavour}).encode())


def test_the_plans_a_gpu_node_lacks_come_with_their_command(copy: Path) -> None:
    plan_of(copy, "vgg16", precision="bf16")
    plans = {plan.file: plan.command for plan in plans_needed(copy)}
    assert set(plans) == {f"{g}/1/model.plan" for g in GRAPHS if g != "vgg16"}
    command = f"cxrexport engines --repository {copy} --flavour tensorrt --precision bf16"
    assert set(plans.values()) == {command}


def test_a_plan_of_this_graph_is_no_problem_however_old_it_is(copy: Path) -> None:
    plan_of(copy, "vgg16")
    for name in ("model.plan", "engine.json"):
        os.utime(copy / "vgg16/1" / name, ns=(0, 0))  # as after a copy, or a checkout of the graph
    assert check_repository(copy) == []


STALE: dict[str, tuple[Callable[[Path], None], str]] = {
    "of an older graph": (
        lambda r: plan_of(r, "vgg16", onnx_sha256="0" * 64),
        "was built from another graph",
    ),
    "without a passport": (
        lambda r: replace(r / "vgg16/1/model.plan", b"built by trtexec"),
        "engine.json is missing",
    ),
    "with a damaged passport": (
        lambda r: (plan_of(r, "vgg16"), replace(r / "vgg16/1/engine.json", b"{}"))[0],
        "engine.json cannot be read",
    ),
    "that was replaced": (
        lambda r: (plan_of(r, "vgg16"), replace(r / "vgg16/1/model.plan", b"another"))[0],
        "is not the file that engine.json describes",
    ),
    "of TensorRT-RTX": (
        lambda r: plan_of(r, "vgg16", flavour="tensorrt-rtx"),
        "its passport engine.json is of a tensorrt-rtx engine, which Triton cannot load",
    ),
    "for fewer films than are sent": (
        lambda r: plan_of(r, "vgg16", max_batch=8),
        "takes 8 films at once, the configuration sends 16",
    ),
    "that differs from its graph": (
        lambda r: plan_of(
            r, "vgg16", parity=Parity(20, 0.02, 0.02, 0.9999, 0.0, 0.0, 0), parity_engines={}
        ),
        "differs from its graph by more than",
    ),
}


@pytest.mark.parametrize("kind", STALE)
def test_a_plan_that_does_not_fit_is_a_problem_and_to_be_built_again(copy: Path, kind: str) -> None:
    act, says = STALE[kind]
    act(copy)
    (problem,) = check_repository(copy)
    assert problem.file == "vgg16/1/model.plan"
    assert says in problem.what
    assert problem.what.endswith("build it again")
    assert "vgg16/1/model.plan" in {plan.file for plan in plans_needed(copy)}


def test_what_the_command_mends_is_no_fault_of_it(copy: Path) -> None:
    plan_of(copy, "vgg16", onnx_sha256="0" * 64)
    assert run_check(copy).returncode == 1
    result = run_check(copy, "--format", "commands")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[:2] == ["cxrexport", "engines"]


def run_without_onnx(repository: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The command in an installation that serves but has no onnx."""
    code = "import sys; sys.modules['onnx'] = None; from cxrexport.cli.app import main; main()"
    command = [sys.executable, "-c", code, "check", "--repository", repository, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_commands_need_no_onnx(copy: Path) -> None:
    result = run_without_onnx(copy, "--format", "commands")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == list({plan.command for plan in plans_needed(copy)})
    (copy / "vgg16/1/model.onnx").unlink()  # hashes are still compared
    assert run_without_onnx(copy, "--format", "commands").returncode == 1


def test_without_onnx_the_check_says_that_graphs_were_not_opened(copy: Path) -> None:
    result = run_without_onnx(copy)
    assert result.returncode == 0, result.stderr
    assert "Only the hashes of the graphs were compared" in result.stderr
    assert "pip install '.[train]'" in result.stderr
    assert json.loads(run_without_onnx(copy, "--format", "json").stdout)["graphs_opened"] is False
    with_onnx = run_check(copy, "--format", "json")
    assert json.loads(with_onnx.stdout)["graphs_opened"] is True


def run_check(repository: Path, *options: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("cxrexport")
    command = [program, "check", "--repository", repository, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_ends_with_0_on_a_whole_repository(copy: Path) -> None:
    result = run_check(copy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "as they were built" in result.stdout
    assert f"cxrexport engines --repository {copy} --flavour tensorrt" in result.stdout


def test_commands_are_what_a_shell_can_run_and_nothing_else(copy: Path) -> None:
    lines = run_check(copy, "--format", "commands").stdout.splitlines()
    assert lines == list({plan.command for plan in plans_needed(copy)})


def test_the_command_ends_with_1_on_a_damaged_one_and_json_names_the_file(copy: Path) -> None:
    (copy / "average/1/model.onnx").unlink()
    result = run_check(copy, "--format", "json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["problems"][0]["file"] == "average/1/model.onnx"


def test_a_repository_whose_ensemble_is_wired_as_before_is_to_be_built_again(copy: Path) -> None:
    edit(copy / "cxr/config.pbtxt", 'value: "CXR_PREPROCESS"', 'value: "CXR"')
    result = run_check(copy)
    assert result.returncode == 1
    assert "cxr/config.pbtxt" in result.stdout
    assert "build again what they name" in " ".join(result.stdout.split())


def test_the_command_ends_with_1_and_a_sentence_where_there_is_nothing(tmp_path: Path) -> None:
    result = run_check(tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("REPOSITORY: ")
