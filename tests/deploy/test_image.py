"""The image: what it is built from, and what its entrypoint does before tritonserver runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import closed_apis
from waiting import eventually

# Stand-ins, for no GPU, no TensorRT and no container is here: they note what they were asked.
_STAND_INS = {
    "nvidia-smi": 'echo "GPU 0: Stand-in (UUID: 0)"; echo "GPU 1: Stand-in (UUID: 1)"',
    "cxrexport": 'echo "cxrexport $*" >>"$NOTES"; exit "${ENGINES_EXIT:-0}"',
    "tritonserver": 'printf "%s\\n" tritonserver "$@" >>"$NOTES"; eval "${SERVER_DOES:-}"',
    # None of those: the entrypoint's Python is the one that has this project.
    "python3": f'exec {sys.executable} "$@"',
}


@pytest.fixture
def container(tmp_path, deploy):
    """Runs the entrypoint beside stand-ins; what they were asked, the exit code, the messages."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in _STAND_INS.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    seed = tmp_path / "seed"
    for file in ("cxr/config.pbtxt", "segment/config.pbtxt", "segment/1/model.onnx"):
        (seed / file).parent.mkdir(parents=True, exist_ok=True)
        (seed / file).write_text(file)
    notes = tmp_path / "notes"

    class Container:
        def __init__(self):
            self.seed = seed
            self.programs = programs
            self.models = tmp_path / "volume/repository"
            self.command = [str(deploy / "docker/entrypoint.sh")]
            self.environment = {
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "NOTES": str(notes),
                "CXR_SEED": str(seed),
                "CXR_REPOSITORY": str(self.models),
            }

        def start(self, *arguments, **environment):
            notes.write_text("")
            result = subprocess.run(
                [*self.command, *arguments],
                env=self.environment | environment,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            self.asked = notes.read_text().splitlines()
            return result

    return Container()


@pytest.mark.parametrize("script", ["entrypoint.sh", "install.sh"])
def test_shellcheck_finds_nothing(deploy, program, script):
    result = subprocess.run(
        [program("shellcheck"), str(deploy / "docker" / script)], capture_output=True, text=True
    )

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("dockerfile", ["docker/Dockerfile", "milvus/Dockerfile"])
def test_hadolint_finds_nothing(deploy, program, dockerfile):
    result = subprocess.run(
        [program("hadolint"), str(deploy / dockerfile)], capture_output=True, text=True
    )

    assert result.returncode == 0, result.stdout


def test_every_stage_is_built_on_one_pinned_triton_image(deploy):
    bases = re.findall(r"^FROM (\S+)", (deploy / "docker/Dockerfile").read_text(), re.MULTILINE)

    assert len(set(bases)) == 1
    assert re.fullmatch(r"nvcr\.io/nvidia/tritonserver:\d\d\.\d\d-py3", bases[0])


def test_the_image_and_its_tensorrt_are_a_row_of_the_table(deploy, root):
    dockerfile = (deploy / "docker/Dockerfile").read_text()
    image = re.search(r"tritonserver:(\S+)-py3", dockerfile)[1]
    tensorrt = re.search(r"^ARG TENSORRT=(\S+)", dockerfile, re.MULTILINE)[1]
    installed = re.search(r"TENSORRT:-([\d.]+)", (deploy / "docker/install.sh").read_text())[1]
    rows = re.findall(
        r"^\| \**`?([\d.]+)-py3`?\** \| ([\d.]+) \|", (root / "docs/gpu-node.md").read_text(), re.M
    )

    assert (image, tensorrt) in rows
    assert installed == tensorrt
    # From 10.12 on a network's types are in its graph, as `cxrexport engines` writes them.
    assert tuple(map(int, tensorrt.split(".")[:2])) >= (10, 12)


def test_the_container_runs_as_a_user_by_number_and_execs_the_supervisor(deploy):
    dockerfile = (deploy / "docker/Dockerfile").read_text()
    users = re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)
    entrypoint = json.loads(re.search(r"^ENTRYPOINT (.+)$", dockerfile, re.MULTILINE)[1])

    assert users == ["1000:1000"]
    assert entrypoint[-1] == "/opt/cxr/entrypoint.sh"
    script = (deploy / "docker/entrypoint.sh").read_text()
    assert re.search(
        r"^exec python3 -P -m cxrclient.serving.supervise --init .*-- \\\n +tritonserver",
        script,
        re.M,
    )


def test_everything_that_the_image_copies_is_let_through_and_is_there(deploy, root):
    dockerfile = (deploy / "docker/Dockerfile").read_text()
    ignore = (deploy / "docker/Dockerfile.dockerignore").read_text().splitlines()
    let_through = [line[1:] for line in ignore if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (.+)$", dockerfile, re.MULTILINE)
        for source in [word for word in line.split() if not word.startswith("--")][:-1]
    ]

    assert copied
    for source in copied:
        assert (root / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in let_through), source


def test_no_second_triton_is_installed(deploy):
    lines = (deploy / "docker/requirements.txt").read_text().splitlines()
    required = {line.split()[0] for line in lines if line and not line.startswith("#")}

    assert required
    assert not [name for name in required if "triton" in name or name.startswith("tensorrt")]


def test_every_requirement_of_the_image_has_a_tested_version(deploy, root):
    lines = (deploy / "docker/requirements.txt").read_text().splitlines()
    required = {line.split()[0] for line in lines if line and not line.startswith("#")}
    constraints = (root / "constraints.txt").read_text().lower()

    assert [name for name in required if f"{name}==" not in constraints] == []


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


def test_a_stop_ends_the_build_of_an_engine(container, tmp_path):
    started = tmp_path / "started"
    ended = tmp_path / "ended"
    (container.programs / "cxrexport").write_text(
        f"#!/bin/sh\ntrap 'touch {ended}; exit 1' TERM\ntouch {started}\n"
        "for _ in $(seq 300); do sleep 0.1; done\n"
    )
    process = subprocess.Popen(
        container.command,
        env=container.environment | {"CXR_DEVICE": "gpu"},
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: started.exists() or process.poll() is not None)
    assert process.poll() is None

    process.send_signal(signal.SIGTERM)

    assert process.wait(600) == 128 + signal.SIGTERM
    assert ended.exists()


def test_the_second_of_two_servers_waits_for_the_engines_of_the_first(container, tmp_path):
    (container.programs / "cxrexport").write_text(
        '#!/bin/sh\necho begin >>"$NOTES"\nsleep 0.5\necho end >>"$NOTES"\n'
    )
    notes = Path(container.environment["NOTES"])
    notes.write_text("")

    both = [
        subprocess.Popen(
            container.command,
            env=container.environment | {"CXR_DEVICE": "gpu"},
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]

    assert [each.wait(600) for each in both] == [0, 0]
    lines = [line for line in notes.read_text().splitlines() if line in ("begin", "end")]
    assert lines == ["begin", "end", "begin", "end"]


def test_the_supervisor_takes_the_place_of_the_entrypoint_and_the_server_is_its_child(deployed):
    # What docker and Kubernetes signal is then the supervisor, and no shell.
    command = Path(f"/proc/{deployed.process.pid}/cmdline").read_text()

    assert "cxrclient.serving.supervise\0--init" in command
    assert _children(deployed.process.pid) == {_server_of(deployed): "tritonserver"}


def test_what_a_server_exits_with_is_handed_on(container):
    assert container.start(CXR_DEVICE="cpu", SERVER_DOES="exit 7").returncode == 7


def test_what_orphans_leave_is_reaped_by_process_1(container):
    with subprocess.Popen(
        container.command,
        # The sleep that ends soon loses its parent at once.
        env=container.environment
        | {"CXR_DEVICE": "cpu", "SERVER_DOES": "(setsid sleep 0.2 &); exec sleep 600"},
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            eventually(lambda: list(_children(process.pid).values()) == ["sleep", "sleep"])
            eventually(lambda: list(_children(process.pid).values()) == ["sleep"])
        finally:
            process.terminate()
    assert process.returncode == 128 + signal.SIGTERM


def test_a_dead_step_of_the_image_is_said_in_its_log_and_the_server_is_back(deployed_to_be_hurt):
    from cxrclient.serving.supervise import step_processes

    server, before = deployed_to_be_hurt, _server_of(deployed_to_be_hurt)
    steps = step_processes(before)
    os.kill(next(pid for pid, step in steps.items() if step.name == "vgg16"), signal.SIGKILL)
    eventually(lambda: "cxr-triton: The server is ready again." in server.log.read_text())

    assert "A step process died (vgg16); the server starts again" in server.log.read_text()
    assert server.get("/v2/health/ready")[0] == 200
    assert _server_of(server) != before


def test_a_stop_of_the_image_ends_the_server_with_0_and_leaves_no_shared_memory(
    deployed_to_be_hurt,
):
    process = deployed_to_be_hurt.process
    command = Path(f"/proc/{_server_of(deployed_to_be_hurt)}/cmdline").read_text()
    regions = re.search(r"shm-region-prefix-name=([^\0]+)", command)[1]
    assert len(list(Path("/dev/shm").glob(f"{regions}*"))) >= 9

    process.send_signal(signal.SIGTERM)

    assert process.wait(600) == 0
    assert list(Path("/dev/shm").glob(f"{regions}*")) == []


def _children(parent: int) -> dict[int, str]:
    """Names of a process's children, ended ones that nobody has reaped included."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # ended meanwhile
                _, _, rest = (entry / "stat").read_text().partition(" (")
                name, _, rest = rest.rpartition(") ")
                if rest.split()[1] == str(parent):
                    found[int(entry.name)] = name
    return found


def _server_of(deployed) -> int:
    (pid,) = [p for p, name in _children(deployed.process.pid).items() if name == "tritonserver"]
    return pid


def test_the_real_server_predicts(deployed, write_dicom, tmp_path):
    from cxrclient import CxrClient

    with CxrClient(f"127.0.0.1:{deployed.grpc_port}") as client:
        prediction = client.predict(write_dicom(tmp_path / "film.dcm"))

    assert 0 <= prediction.probability <= 1


def test_nobody_administers_the_server_not_even_with_the_key_that_its_arguments_show(deployed):
    found = closed_apis.restricted_by(deployed.process.pid)
    (header, key), (name, value) = found["http"], found["grpc"]
    over_grpc = closed_apis.literal(f"triton-grpc-protocol-{name}".encode(), value.encode())

    for call in closed_apis.HTTP:
        assert closed_apis.http(deployed.http_port, call) == 403, call
        exact = f"{header}: {key}".encode()
        assert closed_apis.http(deployed.http_port, call, exact) in (None, 400), call
    for method in closed_apis.GRPC:
        assert closed_apis.grpc(deployed.grpc_port, method) == "restricted", method
        assert closed_apis.grpc(deployed.grpc_port, method, over_grpc) == "broken off", method


def test_the_operators_key_administers_the_server(deployed_with_key):
    from tritonclient.grpc import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    client = InferenceServerClient(f"127.0.0.1:{deployed_with_key.grpc_port}")
    index, key = "POST /v2/repository/index", b"cxr-admin-key: the test's"

    with pytest.raises(InferenceServerException, match="restricted"):
        client.get_model_repository_index()
    assert client.get_model_repository_index(
        headers={"triton-grpc-protocol-cxr-admin-key": "the test's"}
    )
    assert closed_apis.http(deployed_with_key.http_port, index) == 403
    assert closed_apis.http(deployed_with_key.http_port, index, key) == 200


def test_the_image_closes_what_serve_closes(container):
    from cxrclient.serving.exposure import CLOSED_APIS, UNSENDABLE_HEADER

    container.start(CXR_DEVICE="cpu")
    words = "\n".join(container.asked)

    for option in ("--http-restricted-api", "--grpc-restricted-protocol"):
        assert f"{option}={','.join(CLOSED_APIS)}:{UNSENDABLE_HEADER}=" in words


def test_vertex_ai_gets_no_endpoint(container):
    # Triton opens one where it sees AIP_MODE=PREDICTION, and passes on by it what is closed.
    (container.programs / "tritonserver").write_text('#!/bin/sh\nenv >"$NOTES"\n')
    container.start(CXR_DEVICE="cpu", AIP_MODE="PREDICTION")

    assert "CXR_DEVICE=cpu" in container.asked
    assert "AIP_MODE=PREDICTION" not in container.asked


def test_what_clients_need_stays_open(deployed):
    for path in ("/v2/health/live", "/v2/models/cxr/config", "/v2/models/cxr/stats"):
        assert deployed.get(path)[0] == 200, path


def test_a_refused_film_is_counted_by_preprocess_and_no_further(deployed):
    """Alerts and dashboard tell refused films from lost ones by it, and not by failures."""
    from tritonclient.grpc import InferenceServerClient, InferInput
    from tritonclient.utils import InferenceServerException

    film = InferInput("IMAGE", [1, 1], "BYTES")
    film.set_data_from_numpy(np.array([[b"no film"]], dtype=np.object_))
    before = _entered(deployed.metrics())
    with pytest.raises(InferenceServerException, match="NOT_READABLE"):
        InferenceServerClient(f"127.0.0.1:{deployed.grpc_port}").infer("cxr", [film])
    # The server answers first and counts then.
    eventually(lambda: _entered(deployed.metrics())["preprocess"] != before["preprocess"])
    after = _entered(deployed.metrics())

    more = {model: after[model] - before[model] for model in ("preprocess", "segment")}
    assert more == {"preprocess": 1, "segment": 0}
    networks = r'^nv_inference_request_failure{model="(?!cxr|preprocess).* [1-9]\d*$'
    assert not re.search(networks, deployed.metrics(), re.MULTILINE)


def _entered(metrics: str) -> dict[str, int]:
    """Requests by model that its backend answered, in whichever way it counts them."""
    counts: dict[str, int] = {}
    pattern = r'^nv_inference_request_(?:success|failure){model="(\w+)",.*} (\d+)$'
    for model, count in re.findall(pattern, metrics, re.MULTILINE):
        counts[model] = counts.get(model, 0) + int(count)
    return counts
