"""What the image's entrypoint does before tritonserver runs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from cxrclient.serving import own_repository


def test_engines_are_built_before_the_server_of_a_gpu_runs(container):
    result = container.start(CXR_DEVICE="gpu", CXR_PRECISION="bf16")

    assert result.returncode == 0, result.stderr
    assert container.asked[:2] == [
        f"cxrexport engines --repository {container.models} --flavour tensorrt --precision bf16",
        "tritonserver",
    ]
    assert not [word for word in container.asked if word.startswith("--model-config-name")]


def test_engines_are_measured_on_the_films_that_are_named(container):
    container.start(CXR_DEVICE="gpu", CXR_FILMS="/films/a manifest.csv")

    assert container.asked[0].endswith(" --precision fp16 --manifest /films/a manifest.csv")


def test_each_gpu_gets_memory_for_the_films_between_steps(container):
    container.start(CXR_DEVICE="gpu")

    pools = [word for word in container.asked if word.startswith("--cuda-memory-pool")]
    assert pools == [
        "--cuda-memory-pool-byte-size=0:536870912",
        "--cuda-memory-pool-byte-size=1:536870912",
    ]


def test_no_server_runs_without_its_engines(container):
    result = container.start(CXR_DEVICE="gpu", ENGINES_EXIT="1")

    assert result.returncode == 1
    assert "tritonserver" not in container.asked
    assert "no server without its engines" in result.stderr


@pytest.mark.parametrize(
    ("precision", "configuration"), [(None, "cpu"), ("f32", "cpu"), ("bf16", "cpu-bf16")]
)
def test_on_the_cpu_the_precision_chooses_the_configuration(container, precision, configuration):
    given = {} if precision is None else {"CXR_PRECISION": precision}

    result = container.start(CXR_DEVICE="cpu", **given)

    assert result.returncode == 0, result.stderr
    assert container.asked[0] == "tritonserver"  # nothing is built
    assert f"--model-config-name={configuration}" in container.asked


def test_the_seed_may_be_the_name_of_a_repository_that_ships(container):
    result = container.start(CXR_DEVICE="cpu", CXR_SEED="starter")

    assert result.returncode == 0, result.stderr
    record = (own_repository() / "repository.json").read_bytes()
    assert (container.models / "repository.json").read_bytes() == record


def test_arguments_are_handed_on_to_the_server(container):
    container.start("--log-verbose=1", "--grpc-port=1", CXR_DEVICE="cpu")

    assert container.asked[-2:] == ["--log-verbose=1", "--grpc-port=1"]


@pytest.mark.parametrize(
    ("environment", "mend"),
    [
        ({"CXR_DEVICE": "tpu"}, "gpu or cpu"),
        ({"CXR_DEVICE": "cpu", "CXR_PRECISION": "fp16"}, "f32, bf16 or int8"),
        ({"CXR_DEVICE": "cpu", "CXR_PRECISION": "int8"}, "cxrexport quantise"),
        ({"CXR_DEVICE": "cpu", "CXR_REPOSITORY": "/proc/models"}, "cannot be written"),
        ({"CXR_DEVICE": "cpu", "CXR_SEED": ""}, "repository is no model repository"),
        ({"CXR_DEVICE": "cpu", "CXR_SEED": "/proc"}, "CXR_SEED=/proc is no model repository"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_what_cannot_be_served_is_said_with_its_mend(container, environment, mend):
    result = container.start(**environment)

    assert result.returncode == 1
    assert mend in result.stderr
    assert container.asked == []


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="a GPU may be here")
def test_a_container_without_a_gpu_says_how_to_serve(container):
    (container.programs / "nvidia-smi").unlink()

    result = container.start(CXR_DEVICE="gpu")

    assert result.returncode == 1
    assert "CXR_DEVICE=cpu" in result.stderr
    assert container.asked == []


def test_a_driver_too_old_for_the_images_cuda_is_told_and_no_server_runs(
    container, model_repository
):
    (container.programs / "nvidia-smi").write_text(
        '#!/bin/sh\n[ "$1" = --list-gpus ] && echo "GPU 0: NVIDIA L4" ||\n'
        '    echo "NVIDIA L4, 8.9, 550.54.15"\n'
    )
    (container.programs / "cxrexport").unlink()
    (container.programs / "cxrexport").symlink_to(Path(sys.executable).with_name("cxrexport"))

    result = container.start(CXR_DEVICE="gpu", CXR_SEED=str(model_repository))

    assert result.returncode == 1
    said = " ".join(result.stderr.split())
    assert "driver 550.54.15 is older than 580, which CUDA 13 needs" in said
    assert "no server without its engines; the lines above say why" in said
    assert "tritonserver" not in container.asked


def test_the_repository_becomes_its_seed_and_keeps_what_was_built_here(container):
    container.start(CXR_DEVICE="gpu")
    built = {"model.plan": "a plan", "engine.json": "{}"}
    for name, text in built.items():
        (container.models / "segment/1" / name).write_text(text)
    (container.models / "segment/1/model.int8.onnx").write_text("of the repository before")
    (container.seed / "segment/1/model.onnx").write_text("trained anew")

    container.start(CXR_DEVICE="gpu")

    graph = container.models / "segment/1"
    assert (graph / "model.onnx").read_text() == "trained anew"
    assert not (graph / "model.int8.onnx").exists()
    assert {name: (graph / name).read_text() for name in built} == built
    assert not list(container.models.rglob("*.new"))


# What `cxrexport engines` does with a plan that fits, judged by the real passports; TensorRT and a
# GPU are not here, so what it builds is a line of text.
_ENGINES = """\
#!{python}
import dataclasses, os, pathlib, sys
from cxrclient.serving.passports import Passport, PassportUnreadable, passport_faults, read_passport
from cxrclient.files import sha256_of

folder = pathlib.Path(sys.argv[sys.argv.index("--repository") + 1], "segment", "1")
plan, passport, onnx = (folder / name for name in ("model.plan", "engine.json", "model.onnx"))
try:
    fits = plan.is_file() and not list(passport_faults(read_passport(passport), plan, onnx))
except PassportUnreadable:
    fits = False
if not fits:
    with open(os.environ["NOTES"], "a") as notes:
        notes.write("built\\n")
    plan.write_text("built here")
    facts = dict.fromkeys((field.name for field in dataclasses.fields(Passport)[:14]), "")
    facts |= {{"onnx_sha256": sha256_of(onnx), "max_batch": 16}}
    facts |= {{"engine_sha256": sha256_of(plan), "precision": "fp16"}}
    passport.write_text(Passport(**facts).to_json())
"""


def test_a_seed_with_stale_plans_does_not_take_the_place_of_those_built_here(container):
    """A repository on which engines were built once, of another graph or on another GPU."""
    (container.programs / "cxrexport").write_text(_ENGINES.format(python=sys.executable))
    stale = container.seed / "segment/1"
    (stale / "model.plan").write_text("of another graph")
    (stale / "engine.json").write_text("{}")
    (stale / "model.plan.part").write_text("half of one")
    graph = container.models / "segment/1"

    first = container.start(CXR_DEVICE="gpu")
    assert first.returncode == 0, first.stderr
    assert container.asked.count("built") == 1
    passport = (graph / "engine.json").read_bytes()
    second = container.start(CXR_DEVICE="gpu")

    assert second.returncode == 0, second.stderr
    assert container.asked.count("built") == 0
    assert (graph / "model.plan").read_text() == "built here"
    assert (graph / "engine.json").read_bytes() == passport
    assert sorted(path.name for path in graph.iterdir()) == [
        "engine.json",
        "model.onnx",
        "model.plan",
    ]


def test_a_file_that_cannot_be_replaced_stops_the_start(container):
    container.start(CXR_DEVICE="gpu")
    (container.seed / "segment/1/model.onnx").write_text("trained anew")
    (container.models / "segment/1/model.onnx.new").mkdir()  # as a full disk would: no copy

    result = container.start(CXR_DEVICE="gpu")

    assert result.returncode == 1
    assert "could not be brought up to date" in result.stderr
    assert (container.models / "segment/1/model.onnx").read_text() == "segment/1/model.onnx"
    assert container.asked == []
