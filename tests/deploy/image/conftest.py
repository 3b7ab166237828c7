"""The image's entrypoint beside stand-ins of what it starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Stand-ins, for no GPU, no TensorRT and no container is here: they note what they were asked.
_STAND_INS = {
    "nvidia-smi": 'echo "GPU 0: Stand-in (UUID: 0)"; echo "GPU 1: Stand-in (UUID: 1)"',
    "cxrexport": 'echo "cxrexport $*" >>"$NOTES"; exit "${ENGINES_EXIT:-0}"',
    "tritonserver": 'printf "%s\\n" tritonserver "$@" >>"$NOTES"; eval "${SERVER_DOES:-}"',
    # None of those: the entrypoint's Python is the one that has this project.
    "python3": f'exec {sys.executable} "$@"',
}


@pytest.fixture
def container(tmp_path, deploy):
    """Runs the entrypoint beside stand-ins; what they were asked, the exit code, the messages."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in _STAND_INS.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    seed = tmp_path / "seed"
    for file in ("cxr/config.pbtxt", "segment/config.pbtxt", "segment/1/model.onnx"):
        (seed / file).parent.mkdir(parents=True, exist_ok=True)
        (seed / file).write_text(file)
    notes = tmp_path / "notes"

    class Container:
        def __init__(self):
            self.seed = seed
            self.programs = programs
            self.models = tmp_path / "volume/repository"
            self.command = [str(deploy / "docker/entrypoint.sh")]
            self.environment = {
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "NOTES": str(notes),
                "CXR_SEED": str(seed),
                "CXR_REPOSITORY": str(self.models),
            }

        def start(self, *arguments, **environment):
            notes.write_text("")
            result = subprocess.run(
                [*self.command, *arguments],
                env=self.environment | environment,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            self.asked = notes.read_text().splitlines()
            return result

    return Container()
