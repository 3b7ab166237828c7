"""In CI a skip that nobody allowed fails the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TEST = "import pytest\ndef test_one(): pass\ndef test_two(): pytest.skip({reason!r})\n"
MODULE = "import pytest\npytest.skip({reason!r}, allow_module_level=True)\n"
PATH = "import sys; sys.path.append('.')"
HOOKS = "from skips import *"
ALLOWED, OTHER = "this machine has no GPU", "this machine has no browser"


def exit_code_and_output(tmp_path: Path, text: str, *options: str, **environment: str):
    for name in ("skips.py", "allowed_skips.txt"):
        shutil.copy2(HERE / name, tmp_path)
    tmp_path.joinpath("conftest.py").write_text(f"{PATH}\n{HOOKS}\n")
    tmp_path.joinpath("pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    tmp_path.joinpath("test_skips.py").write_text(text)
    tmp_path.joinpath("test_more.py").write_text("def test_three(): pass\n")
    variables = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "."],
        cwd=tmp_path,
        env=variables | environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


def test_every_test_is_under_the_rule():
    assert HOOKS in (HERE / "conftest.py").read_text()


@pytest.mark.parametrize("options", [(), ("--numprocesses", "2")], ids=["alone", "side by side"])
@pytest.mark.parametrize("text", [TEST, MODULE], ids=["a test", "a module"])
def test_an_unexpected_skip_fails_in_ci_and_is_named(tmp_path, text, options):
    code, output = exit_code_and_output(tmp_path, text.format(reason=OTHER), *options, CI="true")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert f"test_skips.py{'::test_two' * (text is TEST)}: {OTHER}" in output


@pytest.mark.parametrize(
    ("reason", "environment"), [(ALLOWED, {"CI": "true"}), (OTHER, {})], ids=["allowed", "at home"]
)
def test_an_allowed_skip_or_one_at_home_passes(tmp_path, reason, environment):
    code, _ = exit_code_and_output(tmp_path, TEST.format(reason=reason), **environment)
    assert code == pytest.ExitCode.OK
