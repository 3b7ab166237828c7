"""Workers end when they are asked to, and with the node, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.spool import Spool
from waiting import appears, eventually

MARK = "CXR_TEST_NODE_PROGRAM"


def test_a_film_in_hand_is_finished_though_the_whole_group_is_asked_to_end(
    node, working, wire, films
) -> None:
    first, second = map(node.takes, films(2))
    wire.hold_after(10_000)
    with working(wire.address) as workers:
        eventually(wire.holds.is_set)
        (pid,) = workers.pids
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
        stopping = threading.Thread(target=workers.stop, args=(60,))
        stopping.start()
        eventually(workers._stopping.is_set)
        wire.flow()
        stopping.join()
        assert node.row(first)["state"] == "analysed"
        assert node.row(second)["state"] == "waiting"
        assert not Path(f"/proc/{pid}").exists()


def test_a_film_that_takes_longer_is_given_back_as_it_was(node, working, wire, film) -> None:
    uid = node.takes(film())
    wire.hold_after(10_000)
    with working(wire.address) as workers:
        eventually(wire.holds.is_set)
        (pid,) = workers.pids
        workers.stop(0.1)
        assert not Path(f"/proc/{pid}").exists()
    job = node.spool.claim_film(0)
    assert job is not None
    assert (job.arrival.uid, job.attempts) == (uid, 0)


PROGRAM = """
import sys
from pathlib import Path
from cxrclient.node.options import NodeOptions
from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.spool import Spool
from cxrclient.node.work.archiver import Archiver
from cxrclient.node.work.workers import Workers

folder, server, told = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
options = NodeOptions(folder, (), server, workers=2, archive_uri=str(told.with_name("a.db")))
with Spool(folder, ["archive"]) as spool:
    Workers(options, spool).start()
    Archiver(options, spool).start()
    while not spool.rows.one("SELECT 1 FROM films WHERE state = 'done'"):
        spool.claim_delivery("nobody", 0.1)
    told.write_text("done")
    for line in sys.stdin:
        file = Path(line.strip()).read_bytes()
        spool.take(arrival_of(file), file)
"""


def marked(mark: str) -> list[int]:
    """Processes that have inherited a mark, and run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def test_a_kill_of_the_node_leaves_no_process_behind(tmp_path, wire, real_film, films) -> None:
    """Workers, one of them over a film, a decoder, the archiver, Milvus Lite."""
    folder, told, other = tmp_path / "spool", tmp_path / "told", tmp_path / "other.dcm"
    file = real_film("RG1_J2KR.dcm").read_bytes()
    other.write_bytes(films(1)[0])
    with Spool(folder) as spool:
        spool.take(arrival_of(file), file)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), wire.address, str(told)],
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, MARK: str(tmp_path), "CXR_PATIENT_KEY": "sixteen or more letters"},
    ) as node:
        appears(told, node)
        wire.hold_after(10_000)
        print(other, file=node.stdin, flush=True)
        eventually(wire.holds.is_set)
        # The node, two workers, a decoder, the archiver; Milvus Lite ends where it idles.
        assert len(marked(str(tmp_path))) >= 5
        node.kill()
    assert eventually(lambda: not marked(str(tmp_path)))
