"""`cxrclient doctor` on a repository's plans and their passports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrclient.serving.passports import Parity, PassportUnreadable, read_passport
from stand_in_plans import (
    ENGINES,
    GOOD,
    GRAPHS,
    L4,
    add_plan,
    examine,
    plan_check,
)


def test_a_gpu_without_plans_is_wrong_and_the_command_named(
    repository: Path, gpu: Callable[..., None]
) -> None:
    gpu(L4)
    code, checks = examine(repository)
    assert code == 1
    assert checks["plans"][0]["mend"] == (
        f"cxrexport engines --repository {repository} --flavour tensorrt"
    )


def test_good_plans_on_their_gpu_are_ok(planned: Path, gpu: Callable[..., None]) -> None:
    gpu(L4)
    code, checks = examine(planned)
    assert code == 0
    assert {plan_check(checks, graph)["verdict"] for graph in GRAPHS} == {"ok"}
    assert "|Δp| 6.0e-04" in plan_check(checks, "vgg16")["finding"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another graph": ({"onnx_sha256": "0" * 64}, "was built from another graph"),
    "another file": ({"engine_sha256": "0" * 64}, "is not the file"),
    "another architecture": (
        {"compute_capability": "8.0", "gpu": "NVIDIA A100"},
        "is for compute capability 8.0 (NVIDIA A100); this machine has NVIDIA L4 (8.9)",
    ),
    "another TensorRT": (
        {"tensorrt_version": "10.12.0.36"},
        "was built by TensorRT 10.12.0.36; the server has 10.13.3",
    ),
    "TensorRT-RTX": ({"flavour": "tensorrt-rtx"}, "which Triton cannot load"),
    "too few films": ({"max_batch": 4}, "takes 4 films at once, the configuration sends 16"),
    "outside the bars": (
        {"parity": Parity(20, 6e-3, 6e-3, 1.0, 0.0, 0.0, 0)},
        "differs from its graph",
    ),
    "lungs outside the bar": (
        {"parity": replace(GOOD, lungs_dice=0.98)},
        "Dice of the lungs 0.995",
    ),
    "a label changed": ({"parity": replace(GOOD, labels_changed=1)}, "1 labels"),
    "a flag changed": ({"parity": replace(GOOD, flags_changed=2)}, "the flags of 2 films changed"),
    "sums in fp16": ({"rules": 1}, "let sums over a plane leave the range of fp16"),
    "not a number": (
        {"parity": Parity(20, float("nan"), 0.0, 1.0, 0.0, 0.0, 0)},
        "differs from its graph",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_plan_that_does_not_fit_is_wrong_and_the_command_named(
    planned: Path, gpu: Callable[..., None], kind: str
) -> None:
    gpu(L4)
    changes, says = WRONG[kind]
    add_plan(planned, "vgg16", **changes)
    code, checks = examine(planned)
    check = plan_check(checks, "vgg16")
    assert (code, check["verdict"]) == (1, "wrong")
    assert says in check["finding"]
    assert check["mend"].startswith(f"cxrexport engines --repository {planned}")
    assert plan_check(checks, "average")["verdict"] == "ok"


def test_what_fp16_cannot_do_is_mended_by_fp32(planned: Path, gpu: Callable[..., None]) -> None:
    gpu(L4)
    add_plan(planned, "vgg16", parity=Parity(20, 6e-3, 6e-3, 1.0, 0.0, 0.0, 0))
    check = plan_check(examine(planned)[1], "vgg16")
    assert check["mend"].endswith("--flavour tensorrt --precision fp32")


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 99}', None])
def test_a_plan_without_a_readable_passport_is_wrong(
    planned: Path, no_gpu: None, content: str | None
) -> None:
    passport = planned / "vgg16/1/engine.json"
    passport.unlink()
    if content is not None:
        passport.write_text(content)
    code, checks = examine(planned)
    assert code == 1
    assert "its passport engine.json" in plan_check(checks, "vgg16")["finding"]


def test_one_missing_plan_of_six_is_wrong(planned: Path, no_gpu: None) -> None:
    (planned / "vgg16/1/model.plan").unlink()
    code, checks = examine(planned)
    assert (code, plan_check(checks, "vgg16")["finding"]) == (1, "is missing")


def test_null_parity_is_unverified_with_its_reason_and_not_wrong(
    planned: Path, no_gpu: None
) -> None:
    reason = "this machine has no NVIDIA GPU"
    add_plan(planned, "vgg16", parity=None, parity_engines=None, parity_reason=reason)
    code, checks = examine(planned)
    check = plan_check(checks, "vgg16")
    assert (code, check["verdict"]) == (0, "unverified")
    assert f"unverified: {reason}" in check["finding"]
    assert check["mend"].endswith("--force")


def test_parity_with_other_engines_than_lie_there_is_unverified(
    planned: Path, no_gpu: None
) -> None:
    add_plan(planned, "vgg16", parity_engines={**ENGINES, "average": "0" * 64})
    assert plan_check(examine(planned)[1], "vgg16")["verdict"] == "unverified"


def test_parity_without_lungs_and_gate_is_unverified(planned: Path, no_gpu: None) -> None:
    """A passport of format 1, of an fp32 plan: its network is what it would be today."""
    add_plan(planned, "vgg16", precision="fp32")
    path = planned / "vgg16/1/engine.json"
    content = json.loads(path.read_text())
    del content["rules"]
    for name in ("lungs_dice", "flags_changed", "real_films"):
        del content["parity"][name]
    path.write_text(json.dumps(content | {"format": 1}))
    code, checks = examine(planned)
    check = plan_check(checks, "vgg16")
    assert (code, check["verdict"]) == (0, "unverified")
    assert "without the lungs' Dice and the gate's flags" in check["finding"]
    assert check["mend"].endswith("--precision fp32 --force")


def test_an_ampere_plan_fits_every_later_gpu_and_no_earlier_one(
    planned: Path, gpu: Callable[..., None]
) -> None:
    gpu(L4, "NVIDIA T4, 7.5, 580.95.05")
    for graph in GRAPHS:
        add_plan(planned, graph, architecture="ampere+", compute_capability="8.0", gpu="A100")
    finding = plan_check(examine(planned)[1], "vgg16")["finding"]
    assert finding == "is for Ampere and later GPUs; NVIDIA T4 (7.5) is older"


def test_a_plan_of_another_gpu_of_the_same_kind_is_noted(
    planned: Path, gpu: Callable[..., None]
) -> None:
    gpu("NVIDIA RTX 4000, 8.9, 580.95.05")
    code, checks = examine(planned)
    assert (code, plan_check(checks, "vgg16")["verdict"]) == (0, "note")


def test_where_no_tensorrt_is_found_versions_are_not_compared(
    planned: Path, gpu: Callable[..., None]
) -> None:
    gpu(L4, tensorrt=None)
    add_plan(planned, "vgg16", tensorrt_version="10.12.0.36")
    code, checks = examine(planned)
    assert code == 0
    assert "cannot be compared" in checks["TensorRT"][0]["finding"]


def test_a_passport_is_read_as_it_was_written(planned: Path) -> None:
    passport = read_passport(planned / "vgg16/1/engine.json")
    assert passport.parity == GOOD
    assert passport.parity_engines == ENGINES
    assert read_passport(planned / "vgg16/1/engine.json") == passport


def test_a_passport_of_a_later_format_is_not_guessed_at(planned: Path) -> None:
    path = planned / "vgg16/1/engine.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 3'))
    with pytest.raises(PassportUnreadable, match="format 3, this version reads 2"):
        read_passport(path)
