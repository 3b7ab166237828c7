"""What a film has freed serves the next one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

FILMS = """
import resource, sys
from cxrexport.preprocessing import PreprocessingSpec, preprocess
from cxrexport.preprocessing.memory import keep_freed_memory

kept = keep_freed_memory()
film = bytearray(sys.stdin.buffer.read())
faults = [0]
for _ in range(8):
    encoded = bytes(film)  # each request brings its own
    answer = preprocess(encoded, PreprocessingSpec()).image.tobytes()
    del encoded, answer
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(kept, min(b - a for a, b in zip(faults[3:], faults[4:])))
"""


def run(film: bytes, **environment: str) -> list[str]:
    unset = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", FILMS]
    done = subprocess.run(
        command, input=film, capture_output=True, check=True, env={**unset, **environment}
    )
    return done.stdout.decode().split()


@pytest.fixture(scope="module")
def film(make_dicom: Callable[..., bytes]) -> bytes:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library than glibc")
    pixels = np.random.default_rng(0).integers(0, 4096, (1955, 1841)).astype(np.uint16)
    return make_dicom(pixels, BitsStored=12)


def test_films_in_a_row_take_no_memory_from_the_kernel(film: bytes) -> None:
    kept, faults = run(film)
    assert kept == "True"
    assert int(faults) < 50  # of 4 KB; thousands without


def test_what_the_environment_says_is_kept(film: bytes) -> None:
    kept, _ = run(film, MALLOC_TRIM_THRESHOLD_="131072")
    assert kept == "False"
