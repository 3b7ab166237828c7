"""Processor time and memory of real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from measuring.processes import children_of_this_process, cpu_seconds, measured, memory_mb

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="PSS is Linux's")
BURN = "import time\nwhile time.process_time() < 0.4: pass\n"
# A shell that waits for its child, which says when it has done its work.
NESTED = [sys.executable, "-c"]


def talking(program: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    child = subprocess.Popen([*NESTED, program], stdin=pipe, stdout=pipe, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_processor_time_of_children_that_ended_is_counted() -> None:
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"
    child = talking(f"{inner}\nprint('ready', flush=True); input()")
    try:
        # The kernel tells four numbers, and cuts each to hundredths.
        assert cpu_seconds(child.pid) > 0.35
    finally:
        child.communicate("\n")


def test_what_happened_before_the_block_is_not_counted() -> None:
    child = talking(f"{BURN}\nprint('ready', flush=True); input()")
    try:
        with measured(child.pid) as usage:
            pass
        assert usage.cpu_s < 0.1
    finally:
        child.communicate("\n")


def test_memory_of_a_child_counts_for_its_parent() -> None:
    inner = "held = bytearray(b'x') * 100_000_000; print('held', flush=True); input()"
    outer = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}], stdin=0, "
        "stdout=subprocess.PIPE)\nchild.stdout.readline()\n"
        "print('ready', flush=True); child.wait()"
    )
    child = talking(outer)
    try:
        assert 100 < memory_mb(child.pid) < 150
    finally:
        child.communicate("\n")


def test_a_process_that_is_gone_weighs_nothing() -> None:
    child = subprocess.Popen([*NESTED, "pass"])
    child.wait()
    assert (cpu_seconds(child.pid), memory_mb(child.pid)) == (0, 0)


def test_children_of_this_process_are_those_that_it_started() -> None:
    before = children_of_this_process()
    child = talking("print('ready', flush=True); input()")
    try:
        assert children_of_this_process() - before == {child.pid}
    finally:
        child.communicate("\n")
