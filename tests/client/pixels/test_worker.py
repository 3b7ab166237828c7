"""A decoder's crash, and its overrun, end its own process and cost one film."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from cxrclient.errors import TooLarge
from cxrclient.pixels import worker as workers
from cxrclient.pixels.worker import in_worker
from waiting import eventually
from worker_tasks import (
    PanicError,
    chatter,
    complain,
    crash,
    fail,
    greedy,
    greedy_for_room,
    grown,
    hang,
    made_smaller,
    process_id,
    same,
)

TESTS = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="decodes in itself elsewhere")


def worker_id() -> int:
    return int(in_worker(process_id, b"")[0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(1, 1), (256, 256), (3001, 2999), (20, 30, 3)])
def test_stream_and_answer_come_whole(shape: tuple[int, ...], dtype: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(dtype)
    for _ in range(2):
        answer = in_worker(same, pixels.tobytes(), dtype, shape)
        assert answer.dtype == dtype
        np.testing.assert_array_equal(answer, pixels)


def test_an_answer_may_be_larger_than_its_stream_and_than_the_one_before() -> None:
    for side in (10, 1000, 3000, 50):
        assert (in_worker(grown, b"\x07", side) == np.full((side, side), 7)).all()
    assert in_worker(grown, b"\x07", 9000).nbytes == 81_000_000  # and then it is not kept
    assert in_worker(grown, b"\x07", 2).sum() == 28


def test_an_answer_outlasts_the_next_one() -> None:
    first, second = (in_worker(grown, bytes([n]), 500) for n in (1, 2))
    assert (int(first.min()), int(first.max()), int(second.min())) == (1, 1, 2)


def test_work_is_done_elsewhere_by_one_process_for_all_films() -> None:
    assert worker_id() == worker_id() != os.getpid()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_is_an_error_and_the_next_film_is_decoded(number: signal.Signals) -> None:
    before = worker_id()
    with pytest.raises(ValueError, match="crashed"):
        in_worker(crash, b"", number)
    assert worker_id() != before


def test_a_process_that_somebody_kills_says_nothing_of_the_stream() -> None:
    with pytest.raises(MemoryError, match="killed"):
        in_worker(crash, b"", signal.SIGKILL)


def test_a_process_that_was_killed_as_it_waited_says_nothing_either() -> None:
    os.kill(worker_id(), signal.SIGKILL)
    with pytest.raises(MemoryError, match="killed"):
        worker_id()
    assert worker_id()


@pytest.mark.parametrize("error", [ValueError, KeyError, PanicError])
def test_an_error_is_an_error_and_ends_nothing(error: type[BaseException]) -> None:
    before = worker_id()
    with pytest.raises(ValueError, match="failed"):
        in_worker(fail, b"", error)
    assert worker_id() == before


def test_a_fault_of_ours_is_told_as_such() -> None:
    with pytest.raises(ImportError):
        in_worker(fail, b"", ModuleNotFoundError)


@pytest.mark.parametrize("work", [greedy, greedy_for_room])
def test_who_takes_more_memory_than_any_film_is_refused_and_the_next_is_decoded(
    work: Callable[[bytes], np.ndarray],
) -> None:
    before = worker_id()
    with pytest.raises(TooLarge, match="more memory"):
        in_worker(work, b"")
    assert worker_id() == before


def test_an_answer_is_refused_for_what_was_said_beside_it() -> None:
    assert in_worker(complain, b"", "part of it is missing\n")[0] == 7
    assert in_worker(complain, b"", "missing", refuse=lambda said: "whole" in said)[0] == 7
    with pytest.raises(ValueError, match="failed"):
        in_worker(complain, b"", "part of it is missing\n", refuse=lambda said: "missing" in said)


def test_silence_refuses_nothing_whatever_the_film_before_said() -> None:
    in_worker(complain, b"", "missing")
    assert in_worker(complain, b"", "", refuse=bool)[0] == 7


def test_who_says_more_than_anybody_reads_is_heard_and_not_kept_waiting() -> None:
    with pytest.raises(ValueError, match="failed"):
        in_worker(chatter, b"", timeout_s=60, refuse=lambda said: "missing" in said)
    assert in_worker(complain, b"", "", refuse=bool)[0] == 7


def test_what_is_said_there_is_not_said_here(capfd: pytest.CaptureFixture[str]) -> None:
    in_worker(complain, b"", "aloud")
    assert capfd.readouterr() == ("", "")


def test_what_takes_too_long_is_ended_and_the_next_film_is_decoded() -> None:
    before = worker_id()
    with pytest.raises(ValueError, match="too long"):
        in_worker(hang, b"", timeout_s=0.2)
    assert worker_id() != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


OPEN = """
import sys
{before}
from cxrclient.pixels.worker import in_worker
from worker_tasks import open_files

in_worker(open_files, b"")
with open("/dev/null"), open("/dev/null"):
    before = open_files(b"")[0]
there = in_worker(open_files, b"")[0]
print(there, before - open_files(b"")[0])
"""
CHANNEL = """
import grpc
channel = grpc.insecure_channel("127.0.0.1:9")
assert channel.unary_unary("/a/b").future(b"").exception().code() == grpc.StatusCode.UNAVAILABLE
"""


def said_by(program: str, *arguments: str) -> str:
    """What a program prints that can import `worker_tasks`; it says nothing else."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("before", ["", CHANNEL], ids=["alone", "beside gRPC"])
def test_nothing_of_the_parents_is_open_there_and_nothing_is_left_behind(before: str) -> None:
    there, more = map(int, said_by(OPEN.format(before=before)).split())
    assert there <= 10  # three of its own, line, pipe, memory, and what is being answered
    assert more == 2


def test_memory_that_is_shared_cannot_be_made_smaller() -> None:
    """Or a decoder that is not master of itself ends its parent, with SIGBUS."""
    done, refused = in_worker(made_smaller, b"")
    assert done == 0
    assert refused > 0


def test_one_that_was_stopped_as_it_waited_works_on() -> None:
    before = worker_id()
    os.kill(before, signal.SIGSTOP)
    os.waitid(os.P_PID, before, os.WSTOPPED)
    assert worker_id() == before


def test_one_that_does_not_start_is_no_fault_of_the_film(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers._workers, "idle", [])
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ImportError, match="does not start"):
        worker_id()


PARENT = """
import os
from cxrclient.pixels.worker import in_worker
from worker_tasks import process_id

print(in_worker(process_id, b"")[0], flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["", "os._exit(1)", "os.kill(os.getpid(), 9)"])
def test_it_ends_with_its_parent(end: str) -> None:
    worker = int(said_by(PARENT.format(end=end)))
    assert eventually(lambda: not Path(f"/proc/{worker}").exists())


AT_WORK = """
import os, signal, sys, threading
from pathlib import Path
from cxrclient.pixels.worker import in_worker
from waiting import eventually
from worker_tasks import begin_and_hang, process_id

worker = int(in_worker(process_id, b"")[0])
work = (begin_and_hang, b"", sys.argv[1])
threading.Thread(target=in_worker, args=work, kwargs={"timeout_s": 600}).start()
eventually(Path(sys.argv[1]).exists)
os.kill(worker, signal.SIGSTOP)
print(worker, flush=True)
os.kill(os.getpid(), 9)
"""


def test_it_ends_with_its_parent_though_it_hangs_over_a_film(tmp_path: Path) -> None:
    worker = int(said_by(AT_WORK, str(tmp_path / "begun")))
    assert eventually(lambda: not Path(f"/proc/{worker}").exists())


def test_a_fork_of_the_parent_has_a_worker_of_its_own() -> None:
    mine = worker_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(worker_id()).encode())
        finally:
            os._exit(0)
    os.close(writing)  # or the end of a child that fails is never read
    os.waitpid(child, 0)
    assert int(os.read(reading, 100)) not in (mine, 0)
    os.close(reading)
    assert worker_id() == mine


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_is_ended_while_he_waits_costs_no_film(number: signal.Signals) -> None:
    before = worker_id()
    os.kill(before, number)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    assert worker_id() != before


MANY_OPEN = """
import os, resource, signal, sys
from pathlib import Path
from cxrclient.pixels import decode_film
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as some daemons have it
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
film = Path(sys.argv[1]).read_bytes()
print(decode_film(film).pixels.shape)
from cxrclient.pixels import worker
worker._workers.idle.pop().end()
print(decode_film(film).pixels.shape)
"""


def test_it_works_beside_many_open_files_and_where_nobody_waits_for_children() -> None:
    film = get_testdata_file("RG1_J2KI.dcm", download=False)
    assert said_by(MANY_OPEN, str(film)).splitlines() == ["(1955, 1841)"] * 2
