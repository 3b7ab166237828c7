"""Which device `serve` takes, and what it says of it, in the doctor's words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrclient.errors import ServeFailed
from cxrclient.serving.device import choose_device
from cxrclient.serving.passports import Parity
from cxrclient.serving.tritonserver import Installation
from stand_in_plans import (
    GRAPHS,
    L4,
    add_plan,
    examine,
    plan_check,
)


def test_every_command_keeps_the_precision_of_the_plans_that_are_there(
    planned: Path, gpu: Callable[..., None], triton_with_tensorrt: Installation
) -> None:
    gpu(L4)
    for graph in GRAPHS:
        add_plan(planned, graph, precision="bf16")
    (planned / "average" / "1" / "model.plan").unlink()
    add_plan(planned, "vgg16", precision="bf16", onnx_sha256="0" * 64)
    command = f"cxrexport engines --repository {planned} --flavour tensorrt --precision bf16"
    checks = examine(planned)[1]
    assert {plan_check(checks, graph)["mend"] for graph in ("vgg16", "average")} == {command}
    with pytest.raises(ServeFailed, match=re.escape(f"`{command}`")):
        choose_device("gpu", triton_with_tensorrt, planned)


def test_serving_names_a_finer_precision_where_the_plans_is_too_coarse(
    planned: Path, gpu: Callable[..., None], triton_with_tensorrt: Installation
) -> None:
    gpu(L4)
    add_plan(planned, "vgg16", parity=Parity(20, 6e-3, 6e-3, 1.0, 0.0, 0.0, 0))
    with pytest.raises(ServeFailed, match="--precision fp32"):
        choose_device("gpu", triton_with_tensorrt, planned)


def test_serving_on_the_gpu_refuses_a_plan_in_the_doctors_words(
    planned: Path, gpu: Callable[..., None], triton_with_tensorrt: Installation
) -> None:
    gpu(L4)
    add_plan(planned, "vgg16", onnx_sha256="0" * 64)
    finding = plan_check(examine(planned)[1], "vgg16")["finding"]
    with pytest.raises(ServeFailed) as refused:
        choose_device("gpu", triton_with_tensorrt, planned)
    assert f"vgg16/1/model.plan {finding}" in refused.value.message
    assert f"`cxrexport engines --repository {planned} --flavour tensorrt`" in (
        refused.value.message
    )


def test_auto_serves_on_the_cpu_then_and_says_why(
    planned: Path,
    gpu: Callable[..., None],
    triton_with_tensorrt: Installation,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gpu(L4)
    add_plan(planned, "vgg16", onnx_sha256="0" * 64)
    assert choose_device("auto", triton_with_tensorrt, planned) == "cpu"
    assert "vgg16/1/model.plan was built from another graph" in caplog.text


def test_good_plans_are_served_on_the_gpu_and_unverified_ones_with_a_warning(
    planned: Path,
    gpu: Callable[..., None],
    triton_with_tensorrt: Installation,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gpu(L4)
    assert choose_device("gpu", triton_with_tensorrt, planned) == "gpu"
    assert caplog.text == ""
    add_plan(planned, "vgg16", parity=None, parity_reason="measured on no film")
    assert choose_device("gpu", triton_with_tensorrt, planned) == "gpu"
    assert "vgg16/1/model.plan is unverified: measured on no film" in caplog.text


def test_a_machine_without_a_gpu_takes_the_cpu_without_a_word(
    planned: Path,
    no_gpu: None,
    triton_with_tensorrt: Installation,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert choose_device("auto", triton_with_tensorrt, planned) == "cpu"
    assert caplog.text == ""
