"""Plans in their repository: what is built, what is kept, what is said (see rtx_in_place.py)."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cxrclient.files import sha256_of
from cxrclient.serving import machine
from cxrclient.serving.passports import Passport, read_passport
from cxrexport.engines import library
from cxrexport.engines.plans import build_engines
from cxrexport.engines.request import EngineRequest
from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.errors import EngineError
from cxrexport.repository import check_repository, plans_needed, read_repository
from rtx_in_place import VERSION

GRAPHS = graphs_of(DEFAULT_MEMBERS)

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")

NEW = "average"


@pytest.mark.parametrize(("version", "asks"), [("10.14.1.48", True), ("11.4.0.106", False)])
def test_a_network_is_strongly_typed_in_both_majors(
    with_five_plans: Path,
    rtx: None,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    asks: bool,
) -> None:
    """From 11 on there is no other kind; its flag is deprecated, and gone in this stand-in."""
    module = sys.modules["tensorrt"]
    flags = []

    class Builder(module.Builder):
        def create_network(self, given: int = 0):
            flags.append(given)
            return super().create_network(given)

    monkeypatch.setattr(module, "Builder", Builder)
    monkeypatch.setattr(module, "__version__", version)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    if not asks:
        monkeypatch.setattr(module, "NetworkDefinitionCreationFlag", object())
    for graph in set(GRAPHS) - {NEW}:
        path = with_five_plans / graph / "1" / "engine.json"
        path.write_text(replace(read_passport(path), tensorrt_version=version).to_json())
    assert list(build_engines(EngineRequest(with_five_plans)).built) == [NEW]
    assert flags == [typed if asks else 0]


@pytest.fixture
def with_five_plans(repository_copy: Path) -> Path:
    """A repository that lacks one plan; small files stand for the others."""
    spec, hashes, _ = read_repository(repository_copy)
    for graph in set(GRAPHS) - {NEW}:
        plan = repository_copy / graph / "1" / "model.plan"
        plan.write_bytes(b"stands for a plan")
        shapes = {kind: [batch, 1] for kind, batch in (("min", 1), ("preferred", 16), ("max", 16))}
        passport = Passport(
            graph=graph,
            engine_sha256=sha256_of(plan),
            onnx_sha256=hashes[graph],
            network_sha256="",
            tensorrt_version=VERSION,
            architecture="current",
            compute_capability="8.9",
            gpu="NVIDIA L4",
            precision="fp16",
            profile={spec.edges(graph).inputs[0].name: shapes},
            max_batch=16,
            engine_bytes=17,
            build_s=60.0,
            built_at="2026-01-01T00:00:00+00:00",
        )
        plan.with_name("engine.json").write_text(passport.to_json())
    return repository_copy


def test_a_missing_plan_is_built_in_its_place_with_its_passport(
    with_five_plans: Path, rtx: None
) -> None:
    assert [plan.file for plan in plans_needed(with_five_plans)] == [f"{NEW}/1/model.plan"]
    done = build_engines(EngineRequest(with_five_plans))
    assert done.built == {NEW: "missing"}
    folder = with_five_plans / NEW / "1"
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "model.plan", "engine.json"}
    passport = read_passport(folder / "engine.json")
    assert (passport.gpu, passport.compute_capability) == ("NVIDIA L4", "8.9")
    assert (passport.parity, passport.parity_reason) == (None, "measured on no film")
    assert check_repository(with_five_plans) == []
    assert plans_needed(with_five_plans) == []
    assert build_engines(EngineRequest(with_five_plans)).built == {}


def test_timings_are_kept_beside_the_repository_and_not_in_it(
    with_five_plans: Path, rtx: None
) -> None:
    build_engines(EngineRequest(with_five_plans))
    kept = with_five_plans.with_name("repository.engines")
    assert [path.name for path in kept.iterdir()] == [f"timing-{VERSION}-8.9.cache"]
    assert check_repository(with_five_plans) == []


def test_damaged_timings_stop_no_build_and_are_written_anew(
    with_five_plans: Path, rtx: None, caplog: pytest.LogCaptureFixture
) -> None:
    kept = with_five_plans.with_name("repository.engines") / f"timing-{VERSION}-8.9.cache"
    kept.parent.mkdir()
    kept.write_bytes(b"no timings" * 100)
    assert list(build_engines(EngineRequest(with_five_plans)).built) == [NEW]
    assert "timing cache" in caplog.text  # TensorRT says that it takes an empty one
    assert kept.read_bytes()[:10] != b"no timings"


def test_timings_that_cannot_be_kept_stop_no_build(with_five_plans: Path, rtx: None) -> None:
    with_five_plans.with_name("repository.engines").write_text("in the folder's place")
    assert list(build_engines(EngineRequest(with_five_plans)).built) == [NEW]


def test_plans_that_cannot_be_run_here_are_not_put_in_place(
    with_five_plans: Path, rtx: None
) -> None:
    if machine.has_nvidia_gpu():
        pytest.skip("there is a GPU")
    from cxrexport.engines.films import parity_films

    spec = read_repository(with_five_plans)[0].preprocessing
    with pytest.raises(EngineError, match=r"model\.plan cannot be loaded on this GPU"):
        build_engines(EngineRequest(with_five_plans), lambda: parity_films(spec, 1))
    folder = with_five_plans / NEW / "1"
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]


def test_a_plan_of_another_gpu_is_built_again(
    with_five_plans: Path, rtx: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_engines(EngineRequest(with_five_plans))
    other = with_five_plans / NEW / "1" / "engine.json"
    passport = read_passport(other)
    other.write_text(replace(passport, compute_capability="8.6", gpu="NVIDIA A10").to_json())
    built = build_engines(EngineRequest(with_five_plans)).built
    assert built == {NEW: "its compute capability is 8.6, asked for is 8.9"}


def test_a_driver_too_old_for_cuda_is_told_before_anything_else(
    with_five_plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = machine.Gpu("NVIDIA L4", "8.9", "550.54.15")
    monkeypatch.setattr(library, "gpus", lambda: (old,))
    with pytest.raises(EngineError, match=r"driver 550\.54\.15 is older than 580"):
        build_engines(EngineRequest(with_five_plans))


def test_a_machine_on_which_tensorrt_finds_no_gpu_is_told_what_it_can_do(
    with_five_plans: Path, rtx: None
) -> None:
    module = sys.modules["tensorrt"]

    def no_builder(log: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    module.Builder = no_builder
    with pytest.raises(EngineError, match=r"on the GPU node\..*`cxrclient serve --device cpu`"):
        build_engines(EngineRequest(with_five_plans))
