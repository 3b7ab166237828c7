"""`cxrclient doctor` on real repositories and the real server.

Plans need a GPU, so a small file stands for each, with a passport as `cxrexport engines` writes it;
and a script stands for nvidia-smi, where it is about a GPU.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrclient import CxrClient
from cxrclient.cli.app import app
from cxrclient.errors import ServeFailed
from cxrclient.serving import machine
from cxrclient.serving.device import choose_device
from cxrclient.serving.embedded import EmbeddedServer
from cxrclient.serving.machine import Cpu, Gpu
from cxrclient.serving.passports import Parity, Passport, PassportUnreadable, read_passport
from cxrclient.serving.tritonserver import Installation

GRAPHS = ("segment", "resnet34", "resnet50", "resnet152", "vgg16", "average")
L4 = "NVIDIA L4, 8.9, 580.95.05"
OLD_DRIVER = "NVIDIA L4, 8.9, 550.54.15"
GOOD = Parity(20, 6e-4, 9e-4, 0.99999, 8e-3, 6e-3, 0, 0.9995, 0, 1)


@pytest.fixture
def repository(model_repository: Path, tmp_path: Path) -> Path:
    """A copy whose files are shared (never written into)."""
    target = tmp_path / "repository"
    shutil.copytree(model_repository, target, copy_function=os.link)
    return target


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def plan_content(graph: str) -> bytes:
    return f"stands for the engine of {graph}".encode()


ENGINES = {graph: sha256(plan_content(graph)) for graph in GRAPHS}


def add_plan(repository: Path, graph: str, flavour: str = "tensorrt", **changes: Any) -> None:
    """A plan built on an L4 by TensorRT 10.13.3 and found good, but for the changes."""
    folder = repository / graph / "1"
    (folder / "model.plan").write_bytes(plan_content(graph))
    facts: dict[str, Any] = {
        "graph": graph,
        "engine_sha256": ENGINES[graph],
        "onnx_sha256": sha256((folder / "model.onnx").read_bytes()),
        "network_sha256": "",
        "tensorrt_version": "10.13.3.9",
        "architecture": "current",
        "compute_capability": "8.9",
        "gpu": "NVIDIA L4",
        "precision": "fp16",
        "profile": {},
        "max_batch": 16,
        "engine_bytes": 30,
        "build_s": 60.0,
        "built_at": "2026-01-01T00:00:00+00:00",
        "parity": GOOD,
        "parity_engines": ENGINES,
        **changes,
    }
    content = json.loads(Passport(**facts).to_json()) | {"flavour": flavour}
    (folder / "engine.json").write_text(json.dumps(content))


@pytest.fixture
def planned(repository: Path) -> Path:
    """A repository with six good plans."""
    for graph in GRAPHS:
        add_plan(repository, graph)
    return repository


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this machine look as if it had GPUs and a server's TensorRT."""

    def have(*lines: str, tensorrt: str | None = "10.13.3") -> None:
        programs, driver, libraries = (tmp_path / name for name in ("bin", "driver", "lib"))
        for folder in (programs, driver, libraries):
            folder.mkdir()
        script = programs / "nvidia-smi"
        script.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
        script.chmod(0o755)
        (driver / "0000:01:00.0").mkdir()
        monkeypatch.setattr(machine, "DRIVERS_GPUS", driver)
        monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
        if tensorrt is not None:
            (libraries / f"libnvinfer.so.{tensorrt}").touch()
        monkeypatch.setattr(machine, "_LIBRARY_FOLDERS", (str(libraries),))
        monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)

    return have


@pytest.fixture
def libcuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Makes a libcuda.so.1 that programs load, as CUDA's compatibility libraries are one."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed, and a libcuda has to be made")

    def make(init: int, version: int) -> None:
        folder = tmp_path / "compat"
        folder.mkdir()
        (folder / "cuda.c").write_text(
            f"int cuInit(unsigned flags) {{ return {init}; }}\n"
            f"int cuDriverGetVersion(int *version) {{ *version = {version}; return 0; }}\n"
        )
        command = [compiler, "-shared", "-fPIC", "-o", "libcuda.so.1", "cuda.c"]
        subprocess.run(command, cwd=folder, check=True)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))

    return make


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Makes this machine one with nothing but a CPU, also where it has a GPU."""
    monkeypatch.setattr(machine, "DRIVERS_GPUS", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))


def examine(repository: Path, *options: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit code, and the checks by subject."""
    command = ["doctor", "--model-repository", str(repository), "--format", "json", *options]
    result = CliRunner().invoke(app, command)
    found: dict[str, list[dict[str, Any]]] = {}
    for check in json.loads(result.stdout)["checks"]:
        found.setdefault(check["subject"], []).append(check)
    if "--server" not in options and found["server localhost:8001"][0]["verdict"] != "note":
        pytest.skip("a server of somebody else's answers at localhost:8001")
    return result.exit_code, found


def plan_check(checks: dict[str, list[dict[str, Any]]], graph: str) -> dict[str, Any]:
    (check,) = checks[f"{graph}/1/model.plan"]
    return check


def test_a_cpu_machine_without_plans_is_fine(repository: Path, no_gpu: None) -> None:
    code, checks = examine(repository)
    assert code == 0
    assert checks["plans"][0]["finding"] == "none, and a CPU needs none"
    assert checks["repository"][0]["verdict"] == "ok"
    assert "OpenVINO computes in f32" in checks["CPU"][0]["finding"]


@pytest.mark.parametrize(
    ("flags", "cpu"),
    [
        ("fpu avx2", Cpu("Some CPU", bf16=False, int8=False)),
        ("fpu avx512_vnni", Cpu("Some CPU", bf16=False, int8=True)),
        ("fpu avx512_bf16 avx512_vnni", Cpu("Some CPU", bf16=True, int8=True)),
        ("amx_tile amx_bf16 amx_int8", Cpu("Some CPU", bf16=True, int8=True)),
    ],
)
def test_a_cpus_precisions_are_read_from_its_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, cpu: Cpu
) -> None:
    text = f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: {flags}\nbugs\t\t: none\n"
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert machine.cpu() == cpu


def test_nvidia_smi_tells_name_capability_and_driver(gpu: Callable[..., None]) -> None:
    gpu(L4, "NVIDIA A10, 8.6, 580.95.05", "an unreadable line")
    assert machine.gpus() == (
        Gpu("NVIDIA L4", "8.9", "580.95.05"),
        Gpu("NVIDIA A10", "8.6", "580.95.05"),
    )


def test_a_driver_too_old_for_cuda_is_wrong(planned: Path, gpu: Callable[..., None]) -> None:
    gpu(OLD_DRIVER)
    code, checks = examine(planned)
    assert (code, checks["GPU"][0]["verdict"]) == (1, "wrong")
    assert "driver 550.54.15 is older than 580, which CUDA 13 needs" in checks["GPU"][0]["finding"]
    assert "/opt/nvidia/nvidia_entrypoint.sh" in checks["GPU"][0]["finding"]


@pytest.mark.parametrize(
    ("init", "version", "does"),
    [
        (0, 13010, True),  # the compatibility libraries of CUDA 13.1, in use
        (0, 12040, False),  # the driver's own
        (804, 13010, False),  # those libraries on a GPU that they do not support
    ],
)
def test_an_older_driver_does_where_the_compatibility_libraries_are_in_use(
    planned: Path,
    gpu: Callable[..., None],
    libcuda: Callable[[int, int], None],
    init: int,
    version: int,
    does: bool,
) -> None:
    gpu(OLD_DRIVER)
    libcuda(init, version)
    code, checks = examine(planned)
    assert (code == 0, checks["GPU"][0]["verdict"] == "ok") == (does, does)


@pytest.mark.parametrize(
    ("line", "cuda", "does"),
    [
        (L4, None, True),
        ("NVIDIA L4, 8.9, 579.1", None, False),
        ("NVIDIA L4, 8.9, 580.65.06", "13.1.0.036", True),
        (OLD_DRIVER, "12.9.1.010", True),  # an image of CUDA 12
        ("NVIDIA L4, 8.9, 470.57", "12.9.1.010", False),
        (OLD_DRIVER, "14.0", False),  # of a CUDA that we do not know
        (OLD_DRIVER, "11.8.0", False),
        ("NVIDIA L4, 8.9, [N/A]", None, True),  # not known is not too old
    ],
)
def test_a_driver_is_judged_by_the_cuda_of_the_image(
    gpu: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    cuda: str | None,
    does: bool,
) -> None:
    gpu(line)
    monkeypatch.delenv("CUDA_VERSION", raising=False)
    if cuda is not None:
        monkeypatch.setenv("CUDA_VERSION", cuda)
    assert (machine.driver_lack(machine.gpus()) is None) is does


def test_serving_on_the_gpu_refuses_a_driver_too_old_for_cuda(
    planned: Path, gpu: Callable[..., None], triton_with_tensorrt: Installation
) -> None:
    gpu(OLD_DRIVER)
    with pytest.raises(ServeFailed, match=r"older than 580.*or serve with `--device cpu`"):
        choose_device("gpu", triton_with_tensorrt, planned)


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


def test_a_graph_that_is_not_the_recorded_one_is_wrong(repository: Path, no_gpu: None) -> None:
    path = repository / "average/1/model.onnx"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content + b"\0")
    code, checks = examine(repository)
    assert code == 1
    assert "average: model.onnx is not the one" in checks["repository"][0]["finding"]
    assert checks["repository"][0]["mend"].startswith("cxrexport build --repository")


def test_a_folder_that_is_no_repository_is_wrong(tmp_path: Path, no_gpu: None) -> None:
    code, checks = examine(tmp_path / "nothing")
    assert code == 1
    assert "no repository.json" in checks["repository"][0]["finding"]


def test_a_server_of_this_repository_is_ok(triton_server: Any) -> None:
    code, checks = examine(triton_server.repository, "--server", triton_server.grpc_address)
    subject = f"server {triton_server.grpc_address}"
    assert code == 0
    assert [check["verdict"] for check in checks[subject]] == ["ok", "ok"]
    assert "the graphs run in openvino" in checks[subject][1]["finding"]


@pytest.mark.parametrize("step", ["preprocess", "resnet34"])
def test_a_dead_step_is_wrong_though_the_server_is_ready(
    model_repository: Path,
    unsupervised: EmbeddedServer,
    kill_step: Callable[..., None],
    no_gpu: None,
    step: str,
) -> None:
    kill_step(unsupervised, step)
    connection = http.client.HTTPConnection(unsupervised.http_address, timeout=600)
    connection.request("GET", "/v2/health/ready")
    assert connection.getresponse().status == 200
    connection.close()  # the server waits for it before it ends
    for _ in range(2):  # whichever instance is next
        code, checks = examine(model_repository, "--server", unsupervised.grpc_address)
        (check,) = checks[f"steps of {unsupervised.grpc_address}"]
        assert (code, check["verdict"]) == (1, "wrong")
        assert f"The step {step} of the server has died." in check["finding"]
        assert check["mend"] == f"cxrclient serve --model-repository {model_repository}"


def test_every_step_has_answered_a_film_on_a_server_that_is_ok(triton_server: Any) -> None:
    _, checks = examine(triton_server.repository, "--server", triton_server.grpc_address)
    (check,) = checks[f"steps of {triton_server.grpc_address}"]
    assert check["verdict"] == "ok"
    assert check["finding"] == "all have answered 4 times (instances: preprocess 2)"


def test_among_other_peoples_films_more_are_sent_and_it_is_said(
    triton_server: Any, drawn_film: Callable[..., Any], write_dicom: Callable[..., Path], tmp_path
) -> None:
    film, done = write_dicom(tmp_path / "film.dcm", drawn_film()), threading.Event()

    def send() -> None:
        with CxrClient(triton_server.grpc_address, gate=False) as client:
            while not done.is_set():
                client.predict(film)

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        try:
            _, checks = examine(triton_server.repository, "--server", triton_server.grpc_address)
        finally:
            done.set()
        sending.result()
    (check,) = checks[f"steps of {triton_server.grpc_address}"]
    assert check["verdict"] == "ok"
    assert "have answered 32 times" in check["finding"]
    assert "others send films too" in check["finding"]


def test_a_repository_without_its_film_is_said(repository: Path, triton_server: Any) -> None:
    (repository / "preprocess" / "warmup" / "film.bytes").unlink()
    code, checks = examine(repository, "--server", triton_server.grpc_address)
    (check,) = checks[f"steps of {triton_server.grpc_address}"]
    assert (code, check["verdict"]) == (0, "note")
    assert "film.bytes cannot be read" in check["finding"]


def edit_record(repository: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = repository / "repository.json"
    record = json.loads(path.read_text())
    change(record)
    path.unlink()
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda record: record.update(model_digest="f" * 64), "the repository has ffffffffffff"),
        (lambda record: record["spec"].update(threshold=0.25), "the repository says 0.25"),
    ],
)
def test_a_server_of_another_repository_is_wrong(
    repository: Path, triton_server: Any, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    edit_record(repository, change)
    code, checks = examine(repository, "--server", triton_server.grpc_address)
    check = checks[f"server {triton_server.grpc_address}"][0]
    assert (code, check["verdict"]) == (1, "wrong")
    assert says in check["finding"]
    assert check["mend"] == f"cxrclient serve --model-repository {repository}"
    if "repository has" in says:
        (steps,) = checks[f"steps of {triton_server.grpc_address}"]
        assert "asked with no film: it does not serve" in steps["finding"]


def test_a_server_that_was_asked_for_and_is_not_there_is_wrong(
    repository: Path, free_address: str, no_gpu: None
) -> None:
    code, checks = examine(repository, "--server", free_address)
    assert code == 1
    assert checks[f"server {free_address}"][0]["mend"].startswith("cxrclient serve")


def test_a_bad_address_is_wrong_usage(repository: Path) -> None:
    command = ["doctor", "--model-repository", str(repository), "--server", "http://x"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2


def test_the_table_ends_with_each_command_once_and_unbroken(
    planned: Path, gpu: Callable[..., None]
) -> None:
    gpu(L4)
    for graph in ("vgg16", "average"):
        add_plan(planned, graph, onnx_sha256="0" * 64)
    result = CliRunner().invoke(app, ["doctor", "--model-repository", str(planned)])
    assert result.exit_code == 1
    command = f"  cxrexport engines --repository {planned} --flavour tensorrt"
    assert result.stdout.splitlines().count(command) == 1


@pytest.fixture
def triton_with_tensorrt(tmp_path: Path) -> Installation:
    """The files of a server with the TensorRT backend; none of them is run."""
    (tmp_path / "backends" / "tensorrt").mkdir(parents=True)
    return Installation(tmp_path / "tritonserver", tmp_path / "backends", tmp_path / "stub")


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
