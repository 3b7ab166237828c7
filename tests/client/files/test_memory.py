"""What a process has freed it uses again, as each setting says."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from cxrclient.files import MemoryUse

BLOCKS = """
import resource, sys
from cxrclient.files import MemoryUse, keep_freed_memory

kept = len(sys.argv) > 1 and keep_freed_memory(MemoryUse[sys.argv[1]])
faults = []

def take_and_free():
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = bytearray(20 << 20)
        del block
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

take_and_free()
print(kept, min(faults[2:]))
"""


def run(*setting: str, **environment: str) -> tuple[str, int]:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library than glibc")
    unset = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", BLOCKS, *setting]
    done = subprocess.run(
        command, capture_output=True, check=True, text=True, env={**unset, **environment}
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.parametrize("kept", MemoryUse)
def test_a_block_is_taken_from_the_kernel_once(kept):
    done, faults = run(kept.name)
    assert done == "True"
    assert faults < 50  # of 4 KB; 5,120 hold the block


@pytest.mark.parametrize("kept", MemoryUse)
def test_what_the_environment_says_of_memory_stays(kept):
    done, _ = run(kept.name, MALLOC_TRIM_THRESHOLD_="131072")
    assert done == "False"
