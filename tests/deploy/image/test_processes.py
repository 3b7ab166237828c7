"""The image's processes: stopped, killed, waited for and reaped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

from waiting import eventually


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


def test_what_orphans_leave_is_reaped_by_process_1(container, tmp_path):
    os.mkfifo(tmp_path / "word")
    with subprocess.Popen(
        container.command,
        # It loses its parent at once, and ends at our word.
        env=container.environment
        | {"CXR_DEVICE": "cpu", "SERVER_DOES": f"(setsid cat {tmp_path}/word &); exec sleep 600"},
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            eventually(lambda: sorted(_children(process.pid).values()) == ["cat", "sleep"])
            (tmp_path / "word").write_text("")
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
