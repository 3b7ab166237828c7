"""Which engines are kept, which are built again, and what a failed build leaves."""

from __future__ import annotations

import fcntl
import json
import os
import resource
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rtx_in_place
from cxrclient.serving.machine import has_nvidia_gpu
from cxrclient.serving.passports import Parity, read_passport
from cxrexport.cli.app import app
from cxrexport.engines import plans
from cxrexport.engines.plans import _require_bars, build_engines
from cxrexport.engines.request import EngineRequest
from cxrexport.ensemble import EngineGraphs
from cxrexport.errors import EngineError
from engine_files import GRAPHS, edges_in, missing

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")

pytestmark = pytest.mark.usefixtures("rtx")

without_gpu = pytest.mark.skipif(has_nvidia_gpu(), reason="there is a GPU, which loads engines")


def test_engines_that_fit_are_kept(six_plans) -> None:
    request, _ = six_plans
    before = {graph: request.engine(graph).stat().st_mtime_ns for graph in GRAPHS}
    assert build_engines(request).built == {}
    assert {graph: request.engine(graph).stat().st_mtime_ns for graph in GRAPHS} == before


def of_an_older_graph(request: EngineRequest) -> None:
    edit_passport(request, onnx_sha256="0" * 64)


def of_another_tensorrt(request: EngineRequest) -> None:
    edit_passport(request, tensorrt_version="10.12.0.1")


def of_another_architecture(request: EngineRequest) -> None:
    edit_passport(request, architecture="ampere+")


def of_tensorrt_rtx(request: EngineRequest) -> None:
    path = request.passport("average")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"flavour": "tensorrt-rtx"}))


def another_file(request: EngineRequest) -> None:
    request.engine("average").write_bytes(b"half an engine")


def without_a_passport(request: EngineRequest) -> None:
    request.passport("average").unlink()


def with_a_damaged_passport(request: EngineRequest) -> None:
    request.passport("average").write_text('{"format": 1, "parity": null}')


def edit_passport(request: EngineRequest, **values: str | int) -> None:
    path = request.passport("average")
    path.write_text(replace(read_passport(path), **values).to_json())


MISFITS = {
    of_an_older_graph: "another graph",
    of_another_tensorrt: "TensorRT version is 10.12.0.1",
    of_another_architecture: "architecture is ampere+",
    of_tensorrt_rtx: "its passport is of a tensorrt-rtx engine, which Triton cannot load",
    another_file: "not the file",
    without_a_passport: "passport is missing",
    with_a_damaged_passport: "cannot be read",
    missing: "missing",
}


@pytest.mark.parametrize("damage", MISFITS, ids=lambda damage: damage.__name__)
def test_only_the_engine_that_does_not_fit_is_built_again(plans_copy, damage) -> None:
    damage(plans_copy)
    done = build_engines(plans_copy)
    assert list(done.built) == ["average"]
    assert MISFITS[damage] in done.built["average"]
    assert build_engines(plans_copy).built == {}


def test_what_a_killed_build_left_is_gone_after_the_next_run(plans_copy) -> None:
    left = plans_copy.engine("average").with_name("model.plan.part")
    left.write_bytes(b"half")
    assert build_engines(plans_copy).built == {}
    assert not left.exists()


def files_of(request: EngineRequest) -> dict[Path, bytes]:
    """Every plan and passport, and whatever else lies beside them but the graphs."""
    files = request.repository.glob("*/1/*")
    return {path: path.read_bytes() for path in files if path.suffix not in (".onnx", ".py")}


@contextmanager
def disk_full_after(size: int):
    """Let no file of this process grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_leaves_what_was_there_and_nothing_else(plans_copy) -> None:
    edit_passport(plans_copy, onnx_sha256="0" * 64)
    before = files_of(plans_copy)
    with disk_full_after(100_000), pytest.raises(EngineError, match="Make room"):
        build_engines(plans_copy)
    assert files_of(plans_copy) == before


def test_a_disk_that_is_full_when_the_passports_are_written_changes_no_engine(
    plans_copy, monkeypatch
) -> None:
    edit_passport(plans_copy, onnx_sha256="0" * 64)
    before = files_of(plans_copy)
    with_engine = plans._build_one

    def then_full(*arguments):
        try:
            return with_engine(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))

    monkeypatch.setattr(plans, "_build_one", then_full)
    with disk_full_after(10**9), pytest.raises(EngineError, match="Make room"):
        build_engines(plans_copy)
    assert files_of(plans_copy) == before


def test_two_builders_of_one_repository_do_not_meet(plans_copy) -> None:
    missing(plans_copy)
    held = os.open(plans_copy.repository, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(EngineError, match="another `cxrexport engines`"):
            build_engines(plans_copy)
    finally:
        os.close(held)


def by_older_rules(request: EngineRequest) -> None:
    edit_passport(request, rules=1)


def in_the_old_format(request: EngineRequest) -> None:
    path = request.passport("average")
    content = json.loads(path.read_text())
    del content["rules"]
    path.write_text(json.dumps(content | {"format": 1}))


@pytest.mark.parametrize("age", [by_older_rules, in_the_old_format], ids=lambda age: age.__name__)
def test_an_engine_of_sums_in_fp16_is_built_again(plans_copy, age) -> None:
    age(plans_copy)
    done = build_engines(plans_copy)
    assert list(done.built) == ["average"]
    assert "let sums over a plane leave the range of fp16" in done.built["average"]
    assert build_engines(plans_copy).built == {}


def test_engines_of_another_precision_than_asked_for_are_built_again(plans_copy) -> None:
    request = replace(plans_copy, precision="fp32", force=False)
    missing_ones = {graph for graph in GRAPHS if graph != "average"}
    for graph in missing_ones:  # only one is built here, the others are made to fit
        path = request.passport(graph)
        path.write_text(replace(read_passport(path), precision="fp32").to_json())
    assert build_engines(request).built == {"average": "its precision is fp16, asked for is fp32"}


@without_gpu
def test_an_engine_that_does_not_load_is_an_error_that_names_it(six_plans) -> None:
    request, _ = six_plans
    with (
        pytest.raises(EngineError, match=r"model\.plan cannot be loaded"),
        EngineGraphs({"average": request.engine("average")}),
    ):
        pass


@pytest.mark.parametrize(
    "change",
    [
        {"probability": 6e-3},
        {"probability": float("nan")},
        {"lungs_dice": 0.99},
        {"labels_changed": 1},
        {"flags_changed": 1},
    ],
)
def test_engines_outside_the_bars_are_not_put_in_place(change: dict[str, float]) -> None:
    parity = replace(Parity(20, 1e-3, 1e-2, 0.9999, 1e-2, 1e-2, 0, 1.0, 0, 1), **change)
    with pytest.raises(EngineError, match=r"No engine was put in place: take `--precision fp32`"):
        _require_bars(parity, "fp16", "fp16")


def test_the_command_shows_engines_that_were_kept(six_plans) -> None:
    request, _ = six_plans
    command = ["engines", "--repository", str(request.repository), "--flavour", "tensorrt"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert result.output.count("kept") == len(GRAPHS)
    assert "unverified: measured on no film" in " ".join(result.output.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "precision"),
    [("SM80", "bf16"), ("SM86", "fp32"), ("SM120", "fp16"), ("SM120", "bf16")],
)
def test_other_architectures_and_precisions_build(
    repository_copy: Path, monkeypatch, architecture: str, precision: str
) -> None:
    rtx_in_place.put(monkeypatch, architecture)
    request = EngineRequest(repository_copy, precision=precision)
    assert list(build_engines(request).built) == list(GRAPHS)
    assert edges_in(request.engine("segment").read_bytes()).keys() == {"CXR", "LUNGS"}
