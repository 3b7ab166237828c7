"""An archive in a file that is kept open for half an hour: a search a minute, then silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SEARCHES = 27
SILENCE_S = 180
"""Milvus Lite said GOAWAY after 100 s of it, while it was pinged."""
PROGRAM = """
import sys, time
import numpy as np
from cxrclient.archive.index import SimilarityIndex

with SimilarityIndex(sys.argv[1], model_digest="a" * 64) as index:
    index.add(["1"], np.ones((1, 128), np.float32), [{}])
    served = index._store._served
    for pause in [60] * int(sys.argv[2]) + [int(sys.argv[3])]:
        time.sleep(pause)
        print([film.id for film in index.search(np.zeros(128, np.float32))])
    print(index._store._served is served and served.poll() is None)
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_it_lives_and_says_nothing(tmp_path: Path) -> None:
    """A process of its own: what gRPC and Milvus Lite say goes to its stderr, past Python."""
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c", PROGRAM),
            *(str(tmp_path / "cxr.db"), str(SEARCHES), str(SILENCE_S)),
        ],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["['1']"] * (SEARCHES + 1) + ["True"]
