"""`cxrclient serve` as its users meet it: a real server, started, refused, stopped and killed."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cxrclient.errors import ServeFailed
from cxrclient.serving import tritonserver
from cxrclient.serving.device import require_precision
from cxrclient.serving.embedded import EmbeddedServer
from cxrclient.serving.runtime_directory import RuntimeDirectory
from tiny_repository import DIGEST
from waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")

CXRCLIENT = Path(sys.executable).with_name("cxrclient")
SHARED_MEMORY = Path("/dev/shm")
RESERVED = "triton_python_backend_shm_region_"
"""Newer Tritons let no caller register a region that is named so."""
PATIENCE_S = 600  # only a hang takes so long
"""Far longer than the supervisor waits for its server (15 s), and than a busy machine needs."""
FREE_PORTS = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")


@dataclass
class Serving:
    """A running `cxrclient serve`, and what it has left on the machine."""

    process: subprocess.Popen[str]
    temporary: Path

    @property
    def directories(self) -> list[Path]:
        return list(self.temporary.glob("cxr-triton-*"))

    def wait_ready(self) -> str:
        assert self.process.stdout is not None
        # The line comes whole: what can be read is the line, or the end of a failed process.
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        assert readable, f"neither ready nor ended within {PATIENCE_S} s"
        line = self.process.stdout.readline()
        assert line.startswith("Ready: "), line + self.error()
        return line

    def said(self) -> str:
        """The next line on stderr, after the first that says what is loaded."""
        assert self.process.stderr is not None
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stderr], [], [], PATIENCE_S)
            assert readable, f"nothing was said within {PATIENCE_S} s"
            # Not by the file object, whose buffer select does not see.
            character = os.read(self.process.stderr.fileno(), 1)
            assert character, f"the command has ended: {line!r}"
            line += character
        return self.said() if line.startswith(b"Loading ") else line.decode()

    def error(self) -> str:
        """What an ended command left on stderr; one that does not end is an error, not a hang."""
        self.process.wait(PATIENCE_S)
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def processes(self) -> list[int]:
        """Processes of this server: each names its directory in its command or environment."""
        mark = str(self.temporary).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:  # ended meanwhile
                    continue
                if mark in command and state != "Z" and int(entry.name) != self.process.pid:
                    found.append(int(entry.name))
        return found

    def pid_of(self, name: str) -> int:
        names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in self.processes()}
        return next(pid for pid, found in names.items() if found == name[:15])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Starts the command; its temporary files go to a directory of its own."""
    started: list[Serving] = []

    def start(repository: Path, *options: str, **environment: str) -> Serving:
        temporary = tmp_path / f"temporary{len(started)}"
        temporary.mkdir()
        command = [CXRCLIENT, "serve", "--model-repository", repository, "--device", "cpu"]
        process = subprocess.Popen(
            [*map(str, command), *FREE_PORTS, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary), **environment},
        )
        started.append(Serving(process, temporary))
        return started[-1]

    yield start
    for serving in started:
        serving.process.terminate()
        try:
            serving.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            serving.process.kill()
            serving.process.communicate()


def regions(names: list[str]) -> list[Path]:
    return [region for name in names for region in SHARED_MEMORY.glob(f"{RESERVED}{name}*")]


def refused(repository: Path, *options: str, loading: bool = True) -> str:
    """The one line on stderr of a `serve` that must end with exit code 1.

    Where not `loading`, it must not have begun to load the models either.
    """
    command = [CXRCLIENT, "serve", "--model-repository", repository, *FREE_PORTS, *options]
    result = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )
    assert result.returncode == 1, result.stderr
    lines = result.stderr.splitlines()
    lines = [line for line in lines if not (loading and line.startswith("Loading "))]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("SERVE_FAILED: ")
    return lines[0].removeprefix("SERVE_FAILED: ")


def test_ready_is_one_line_with_address_model_digest_and_notice(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    line = serve(tiny_repository).wait_ready()
    address = re.search(r"HTTP (127\.0\.0\.1):(\d+)", line)
    assert address is not None
    for words in ("gRPC 127.0.0.1:", "model tiny", DIGEST[:12], "Research use only"):
        assert words in line
    assert "It adds nothing." in line
    connection = http.client.HTTPConnection(address[1], int(address[2]), timeout=PATIENCE_S)
    connection.request("GET", "/v2/models/cxr/ready")
    assert connection.getresponse().status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_requested_stop_ends_with_0_and_leaves_nothing(
    tiny_repository: Path, serve: Callable[..., Serving], number: signal.Signals
) -> None:
    serving = serve(tiny_repository)
    serving.wait_ready()
    names = [directory.name for directory in serving.directories]
    assert serving.processes()
    assert regions(names)
    serving.process.send_signal(number)
    assert serving.process.wait(PATIENCE_S) == 0
    assert serving.processes() == []
    assert regions(names) == []
    assert serving.directories == []


def test_an_ignored_interrupt_stays_ignored_and_the_command_says_what_ends_it(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited, as in a background job
    try:
        serving = serve(tiny_repository)
    finally:
        signal.signal(signal.SIGINT, before)
    assert serving.wait_ready().endswith(
        "SIGINT is ignored here, as in a background job: SIGTERM ends this command.\n"
    )
    serving.process.send_signal(signal.SIGINT)
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(PATIENCE_S) == 0
    assert serving.error().splitlines()[-1] == "Stopped."


@pytest.mark.parametrize("when", ["loading", "ready"])
def test_a_killed_command_takes_the_server_and_its_stubs_with_it(
    model_repository: Path, serve: Callable[..., Serving], when: str
) -> None:
    serving = serve(model_repository)
    if when == "ready":
        serving.wait_ready()
    else:
        # The first stubs are there, the last are not: Triton is in the middle of it.
        eventually(lambda: len(regions([d.name for d in serving.directories])) >= 7)
    names = [directory.name for directory in serving.directories]
    serving.process.kill()
    eventually(lambda: serving.processes() == [], serving)
    eventually(lambda: regions(names) == [])
    eventually(lambda: serving.directories == [])


@pytest.mark.parametrize(
    ("victim", "why"),
    [
        ("tritonserver", "The server was ended by signal SIGKILL"),
        ("triton_python_backend_stub", "A step process died (identity)"),
    ],
)
def test_a_server_or_a_step_that_is_killed_is_said_in_the_terminal_and_is_back(
    tiny_repository: Path, serve: Callable[..., Serving], victim: str, why: str
) -> None:
    serving = serve(tiny_repository)
    serving.wait_ready()
    before = serving.pid_of("tritonserver")
    os.kill(serving.pid_of(victim), signal.SIGKILL)
    assert serving.said() == f"{why}; the server starts again (restart 1).\n"
    assert serving.said() == "The server is ready again.\n"
    os.kill(serving.pid_of(victim), signal.SIGKILL)
    assert serving.said() == f"{why}; the server starts again after a pause of 1 s (restart 2).\n"
    assert serving.said() == "The server is ready again.\n"
    assert serving.pid_of("tritonserver") != before
    serving.process.terminate()
    assert serving.process.wait(PATIENCE_S) == 0
    assert serving.processes() == []


def test_a_server_that_somebody_stops_ends_the_command_with_1_and_the_reason(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    serving = serve(tiny_repository)
    serving.wait_ready()
    os.kill(serving.pid_of("tritonserver"), signal.SIGTERM)
    assert serving.process.wait(PATIENCE_S) == 1
    assert "SERVE_FAILED: the server ended with code 0" in serving.error()
    assert serving.processes() == []


def test_new_starts_that_fail_come_ever_later_and_end_with_the_reason(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    serving = serve(tiny_repository)
    serving.wait_ready()
    (tiny_repository / "identity" / "1" / "model.onnx").write_bytes(b"\x08\x08no graph")
    os.kill(serving.pid_of("triton_python_backend_stub"), signal.SIGKILL)
    assert serving.process.wait(2 * PATIENCE_S) == 1
    error = serving.error()
    assert re.findall(r"pause of (\d+) s", error) == ["1", "2", "4", "8"]
    assert "SERVE_FAILED: model identity does not load: OpenVINO cannot read model.onnx" in error
    assert serving.processes() == []


@pytest.mark.parametrize("port", ["http", "grpc", "metrics"])
def test_a_port_in_use_is_named_before_anything_is_loaded(tiny_repository: Path, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        reason = refused(tiny_repository, f"--{port}-port", str(number), loading=False)
    assert reason.startswith(f"{port} port {number} on 127.0.0.1 cannot be used")
    assert f"--{port}-port" in reason


# --- what it opens (test_exposure.py has the rest) --------------------------------------------


def test_what_other_machines_can_reach_is_said_on_stderr(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    serving = serve(tiny_repository, "--host", "0.0.0.0", "--metrics-host", "0.0.0.0")
    line = serving.wait_ready()
    serving.process.terminate()
    loading, opened, holes, stopped = serving.error().splitlines()

    ports = re.search(r"gRPC 127\.0\.0\.1:(\d+), .* metrics 127\.0\.0\.1:(\d+);", line)
    assert ports is not None
    reach = f"Open to other machines: gRPC 0.0.0.0:{ports[1]}, metrics 0.0.0.0:{ports[2]}. "
    assert opened.startswith(reach)
    assert "Nothing is encrypted" in opened
    assert re.match(r"Triton 2\.\d+\.\d+ has known holes, which 2\d\.\d\d fixes: .*CVE-", holes)
    assert loading.startswith("Loading ")
    assert stopped == "Stopped."


def test_a_server_that_nobody_else_reaches_has_nothing_to_say(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    serving = serve(tiny_repository)
    serving.wait_ready()
    serving.process.terminate()
    loading, stopped = serving.error().splitlines()
    assert loading.startswith("Loading ")
    assert stopped == "Stopped."


def test_the_admin_key_is_the_environments_and_is_said_to_be_no_secret(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    serving = serve(tiny_repository, CXR_ADMIN_KEY="of the operator")
    address = re.search(r"HTTP (127\.0\.0\.1):(\d+)", serving.wait_ready())
    assert address is not None
    answers = []
    for headers in ({}, {"cxr-admin-key": "of the operator"}):
        connection = http.client.HTTPConnection(address[1], int(address[2]), timeout=600)
        connection.request("POST", "/v2/repository/index", headers=headers)
        answers.append(connection.getresponse().status)
    serving.process.terminate()

    assert answers == [403, 200]
    assert "every user of this machine can read it" in serving.error()


# --- precision on the CPU --------------------------------------------------------------------


def add_int8(repository: Path) -> None:
    """An int8 variant as `cxrexport quantise` lays it down: OpenVINO's own format."""
    import openvino

    model = repository / "identity"
    graph = openvino.Core().read_model(model / "1" / "model.onnx")
    openvino.save_model(graph, model / "1" / "model.int8.xml", compress_to_fp16=False)
    (model / "1" / "model.int8.bin").write_bytes(b"\0" * 64)  # no weights in this one
    text = (model / "configs" / "cpu.pbtxt").read_text()
    (model / "configs" / "cpu-int8.pbtxt").write_text(text.replace("model.onnx", "model.int8.xml"))


def test_int8_is_served_where_the_repository_has_it(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    add_int8(tiny_repository)
    line = serve(tiny_repository, "--precision", "int8").wait_ready()
    assert "on the CPU in int8" in line
    address = re.search(r"HTTP (127\.0\.0\.1):(\d+)", line)
    assert address is not None
    connection = http.client.HTTPConnection(address[1], int(address[2]), timeout=PATIENCE_S)
    connection.request("GET", "/v2/models/identity/config")
    config = json.loads(connection.getresponse().read())
    assert config["default_model_filename"] == "model.int8.xml"


def test_int8_of_a_repository_that_was_not_quantised_is_refused_with_the_command(
    tiny_repository: Path,
) -> None:
    reason = refused(tiny_repository, "--device", "cpu", "--precision", "int8", loading=False)
    command = f"cxrexport quantise --repository {tiny_repository} --manifest CSV"
    assert reason.startswith(f"{tiny_repository} has no int8 graphs: make them with `{command}`")


@pytest.mark.parametrize("file", ["model.int8.xml", "model.int8.bin"])
def test_a_missing_file_of_an_int8_graph_is_named(tiny_repository: Path, file: str) -> None:
    add_int8(tiny_repository)
    (tiny_repository / "identity" / "1" / file).unlink()
    reason = refused(tiny_repository, "--device", "cpu", "--precision", "int8", loading=False)
    assert f"lacks identity/1/{file}" in reason


@pytest.mark.parametrize(
    ("flags", "able"), [("fpu avx2 avx512f", False), ("avx2 avx512_bf16", True), ("amx_bf16", True)]
)
def test_bf16_is_refused_where_the_cpu_lacks_the_instructions(
    tiny_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, able: bool
) -> None:
    # One processor cannot be several: what the kernel says of it is replaced.
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name\t: Test CPU\nflags\t\t: {flags}\n")
    monkeypatch.setattr("cxrclient.serving.machine.CPUINFO", cpuinfo)
    text = (tiny_repository / "identity" / "configs" / "cpu.pbtxt").read_text()
    (tiny_repository / "identity" / "configs" / "cpu-bf16.pbtxt").write_text(text)
    if able:
        assert EmbeddedServer(tiny_repository, device="cpu", precision="bf16").precision == "bf16"
        return
    with pytest.raises(ServeFailed, match=r"this CPU \(Test CPU\) has no bf16 instructions"):
        EmbeddedServer(tiny_repository, device="cpu", precision="bf16")


def test_a_repository_from_before_there_was_bf16_is_to_be_built_again(
    tiny_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : avx512_bf16\n")
    monkeypatch.setattr("cxrclient.serving.machine.CPUINFO", cpuinfo)
    with pytest.raises(ServeFailed, match="no configuration for bf16 of identity: build it again"):
        EmbeddedServer(tiny_repository, device="cpu", precision="bf16")


def test_a_precision_of_the_cpu_is_refused_on_a_gpu(tiny_repository: Path) -> None:
    with pytest.raises(ServeFailed, match="leave out `--precision f32`"):
        require_precision("f32", "gpu", tiny_repository)
    require_precision(None, "gpu", tiny_repository)


def test_a_model_that_does_not_load_is_named_with_its_reason(tiny_repository: Path) -> None:
    (tiny_repository / "identity" / "1" / "model.onnx").write_bytes(b"\x08\x08no graph")
    reason = refused(tiny_repository)
    assert reason.startswith("model identity does not load: OpenVINO cannot read model.onnx")


def test_a_graph_that_disagrees_with_its_configuration_is_not_served(
    tiny_repository: Path,
) -> None:
    config = tiny_repository / "identity" / "configs" / "cpu.pbtxt"
    config.write_text(config.read_text().replace("dims: 4", "dims: 5"))
    reason = refused(tiny_repository)
    assert "model identity does not load: input X is [?,4] in the graph, [?,5]" in reason


def test_a_configuration_that_triton_cannot_parse_is_named(tiny_repository: Path) -> None:
    config = tiny_repository / "identity" / "configs" / "cpu.pbtxt"
    config.write_text(config.read_text() + "nonsense {")
    reason = refused(tiny_repository)
    assert "model identity does not load: failed to read text proto" in reason


def test_a_missing_graph_is_named_before_the_server_starts(tiny_repository: Path) -> None:
    (tiny_repository / "identity" / "1" / "model.onnx").unlink()
    reason = refused(tiny_repository)
    assert "lacks identity/1/model.onnx" in reason
    assert "cxrexport build" in reason


def test_an_ensemble_that_does_not_say_what_clients_need_is_not_served(
    tiny_repository: Path,
) -> None:
    config = tiny_repository / "cxr" / "config.pbtxt"
    config.write_text(config.read_text().replace("'threshold'", "'limit'"))
    reason = refused(tiny_repository)
    assert "does not say what clients need (KeyError: 'threshold')" in reason


def test_a_folder_that_is_no_repository_is_named(tmp_path: Path) -> None:
    assert "--model-repository DIR" in refused(tmp_path)


def test_a_gpu_that_is_not_there_is_said_and_the_cpu_offered(tiny_repository: Path) -> None:
    if any(Path("/proc/driver/nvidia/gpus").glob("*")):
        pytest.skip("this machine has a GPU")
    reason = refused(tiny_repository, "--device", "gpu")
    assert "no NVIDIA GPU" in reason
    assert "--device cpu" in reason


def test_a_log_file_that_cannot_be_written_is_one_line(tiny_repository: Path) -> None:
    reason = refused(tiny_repository, "--log-file", str(tiny_repository / "absent" / "log"))
    assert "could not be started" in reason


def test_a_log_file_is_kept_and_an_old_failure_in_it_is_not_reported_again(
    tiny_repository: Path, tmp_path: Path, serve: Callable[..., Serving]
) -> None:
    log = tmp_path / "triton.log"
    log.write_text("\"failed to load 'old' version 1: Internal: long ago\"\n")
    serving = serve(tiny_repository, "--log-file", str(log))
    serving.wait_ready()
    os.kill(serving.pid_of("tritonserver"), signal.SIGTERM)
    serving.process.wait(PATIENCE_S)
    assert "old" not in serving.error()
    assert "Started GRPCInferenceService" in log.read_text()


def test_serving_writes_nothing_into_the_repository(
    model_repository: Path, tmp_path: Path, serve: Callable[..., Serving]
) -> None:
    copy = tmp_path / "repository"
    shutil.copytree(model_repository, copy, copy_function=os.link)
    shutil.rmtree(copy / "preprocess" / "1" / "__pycache__", ignore_errors=True)
    before = sorted(copy.rglob("*"))
    serving = serve(copy)
    serving.wait_ready()
    serving.process.terminate()
    serving.process.wait(PATIENCE_S)
    assert sorted(copy.rglob("*")) == before


def test_servers_beside_each_other_do_not_disturb_each_other(
    triton_server: object, tiny_repository: Path
) -> None:
    address = triton_server.http_address  # type: ignore[attr-defined]
    with EmbeddedServer(tiny_repository, device="cpu") as other:
        assert other.http_address != address
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    connection.request("GET", "/v2/models/cxr/config")
    assert json.loads(connection.getresponse().read())["name"] == "cxr"


def test_an_error_inside_the_block_stops_the_server(tiny_repository: Path) -> None:
    server = EmbeddedServer(tiny_repository, device="cpu")

    def fail_while_serving() -> None:
        with server:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_serving()
    with socket.create_server(("127.0.0.1", server.http_port)):
        pass  # the port is free again


def test_a_tritonserver_on_path_is_taken_before_the_packages(
    tiny_repository: Path, tmp_path: Path, serve: Callable[..., Serving]
) -> None:
    package = tritonserver.find_installation()
    root = tmp_path / "opt"
    for source, target in (
        (package.binary, root / "bin" / "tritonserver"),
        (package.stub, root / "backends" / "python" / tritonserver.STUB),
        *((file, root / "backends" / "python" / file.name) for file in _python_backend(package)),
    ):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    serving = serve(
        tiny_repository,
        PATH=f"{root / 'bin'}:{os.environ['PATH']}",
        LD_LIBRARY_PATH=":".join(map(str, package.libraries)),
    )
    serving.wait_ready()
    running = Path(f"/proc/{serving.pid_of('tritonserver')}/exe").resolve()
    assert running == (root / "bin" / "tritonserver").resolve()


def _python_backend(package: tritonserver.Installation) -> list[Path]:
    return [f for f in (package.backends / "python").iterdir() if f.suffix in (".so", ".py")]


def test_a_tritonserver_whose_stub_is_of_another_python_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = tritonserver.find_installation()
    stubs = package.stub.parents[1]
    other = next(stub for stub in stubs.glob(f"*/{tritonserver.STUB}") if stub != package.stub)
    binary = tmp_path / "bin" / "tritonserver"
    stub = tmp_path / "backends" / "python" / tritonserver.STUB
    for source, target in ((package.binary, binary), (other, stub)):
        target.parent.mkdir(parents=True)
        shutil.copy2(source, target)
    monkeypatch.setenv("PATH", str(binary.parent), prepend=":")
    assert tritonserver.find_installation() == package
    assert f"runs Python {other.parent.name}" in caplog.text


def test_a_missing_libpython_is_named_with_its_apt_package() -> None:
    package = tritonserver.find_installation()
    bare = {"LD_LIBRARY_PATH": str(package.libraries[0])}
    for stub in sorted(package.stub.parents[1].glob(f"*/{tritonserver.STUB}")):
        candidate = tritonserver.Installation(package.binary, package.backends, stub)
        linked = subprocess.run(
            ["ldd", stub], capture_output=True, text=True, env=bare, check=True
        ).stdout
        missing = re.search(r"(libpython3\.\d+)\S* => not found", linked)
        if missing is not None:
            with pytest.raises(ServeFailed, match=rf"apt install {re.escape(missing[1])}$"):
                tritonserver.require_loadable(candidate, bare)
            return
    pytest.skip("this system has the library of every Python that Triton brings a stub for")


def test_a_fitting_libpython_is_accepted() -> None:
    package = tritonserver.find_installation()
    tritonserver.require_loadable(package, tritonserver.server_environment(package))


def test_other_systems_are_told_where_the_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # No Mac at hand: the one fact that differs there is replaced.
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(ServeFailed, match=r"Linux x86-64.* Darwin arm64; the client works here"):
        EmbeddedServer()


def test_no_server_at_all_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ServeFailed, match=r"run `pip install '\.\[serve\]'` in a checkout"):
        tritonserver.find_installation()


def test_what_a_killed_server_left_is_removed_by_the_next_and_a_living_ones_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    living = RuntimeDirectory()
    dead = tmp_path / "cxr-triton-dead-test"
    dead.mkdir()
    region = SHARED_MEMORY / f"{RESERVED}{dead.name}-region"
    region.write_bytes(b"left behind")
    for directory in (living.path, dead):
        os.utime(directory, (time.time() - 3600,) * 2)
    try:
        RuntimeDirectory().release()
        assert not dead.exists()
        assert not region.exists()
        assert living.path.exists()
    finally:
        region.unlink(missing_ok=True)
        living.release()
    assert not living.path.exists()
