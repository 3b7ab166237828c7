"""CI's rule of skips: one whose reason is not in the committed list fails the run."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

__all__ = [
    "pytest_collectreport",
    "pytest_runtest_logreport",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
]

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
_unexpected_skips: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _look_for_a_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _look_for_a_skip(report)


def _look_for_a_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Keep a skip whose reason is not in the committed list; in CI it makes the run fail."""
    if "CI" not in os.environ or not report.skipped or not isinstance(report.longrepr, tuple):
        return
    reason = report.longrepr[2].removeprefix("Skipped: ")
    lines = ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    if not any(re.fullmatch(pattern, reason) for pattern in patterns):
        _unexpected_skips[report.nodeid] = reason


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unexpected_skips and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for nodeid, reason in _unexpected_skips.items():
        terminalreporter.write_line(f"SKIPPED AGAINST {ALLOWED_SKIPS.name}: {nodeid}: {reason}")
