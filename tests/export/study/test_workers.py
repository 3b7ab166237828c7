"""Tasks in several processes: order, failures, and a process that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cxrexport.study.workers import TaskSpec, run_tasks
from waiting import appears, eventually

# The functions run in processes of their own, which must be able to import them.
MODULE = """
import os, pathlib, signal

def write(folder, name):
    pathlib.Path(folder, name).touch()

def read(folder, name):
    if not pathlib.Path(folder, name).exists():
        raise FileNotFoundError(f"{name} is not there")

def die(folder, name):
    pathlib.Path(folder, f"{name}-{os.getpid()}").touch()
    os._exit(9)

def stay(folder, name):
    pathlib.Path(folder, name).write_text(str(os.getpid()))
    signal.pause()
"""

STUDY = """
import sys, worker_functions
from cxrexport.study.workers import TaskSpec, run_tasks
if __name__ == "__main__":
    run_tasks([TaskSpec("stays", worker_functions.stay, (sys.argv[1], "pid"))], jobs=2)
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "worker_functions.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    import worker_functions

    yield worker_functions
    del sys.modules["worker_functions"]


@pytest.mark.slow
def test_tasks_wait_for_what_they_need_and_failures_cost_only_what_needs_them(work, tmp_path):
    folder = str(tmp_path)
    ended = []
    failed = run_tasks(
        [
            TaskSpec("reads", work.read, (folder, "a"), ("writes",)),
            TaskSpec("fails", work.read, (folder, "missing")),
            TaskSpec("after failure", work.write, (folder, "never"), ("fails",)),
            TaskSpec("whatever comes", work.write, (folder, "c"), after=("fails", "reads")),
            TaskSpec("dies", work.die, (folder, "death")),
            TaskSpec("writes", work.write, (folder, "a")),
            TaskSpec("last", work.write, (folder, "b"), ("reads",)),
        ],
        jobs=2,
        on_end=lambda name, failure: ended.append((name, failure is None)),
    )
    assert failed == {
        "fails": "missing is not there",
        "after failure": "needs fails, which failed",
        "dies": "its process died; it may have run out of memory",
    }
    assert dict(ended) == {
        name: name not in failed
        for name in ("reads", "fails", "after failure", "whatever comes", "dies", "writes", "last")
    }
    order = [name for name, _ in ended]
    assert max(order.index("fails"), order.index("reads")) < order.index("whatever comes")
    assert (tmp_path / "b").exists()
    assert not (tmp_path / "never").exists()
    assert len(list(Path(tmp_path).glob("death-*"))) == 2  # another try, in another process


def test_a_need_that_nobody_meets_is_refused(work, tmp_path):
    task = TaskSpec("reads", work.read, (str(tmp_path), "a"), ("writes",))
    with pytest.raises(ValueError, match="no task is named writes"):
        run_tasks([task], jobs=1)


def running(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends between the two
        return False


def test_no_worker_outlives_a_killed_study(work, tmp_path):
    """Or a study that is started again would write into the same files."""
    (tmp_path / "study.py").write_text(STUDY)
    study = subprocess.Popen([sys.executable, tmp_path / "study.py", tmp_path])
    pid = appears(tmp_path / "pid", study)
    study.send_signal(signal.SIGKILL)
    study.wait(600)
    eventually(lambda: not running(pid.read_text()), "the worker lives on")
