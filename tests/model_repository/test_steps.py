"""The steps in a repository: short files of today, and those of before, which serve on."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton

from cxrclient.serving.embedded import EmbeddedServer
from cxrexport.admission.lungs import two_largest_kept
from cxrexport.repository import check_repository
from linked_copy import linked_copy

ROOT = Path(__file__).parents[2]
BEFORE = Path(__file__).with_name("steps_before")
"""As they were written until the steps moved into `cxrexport`."""
SHARED_MEMORY = Path("/dev/shm")
LARGE = ("numpy", "cv2", "pydicom", "openvino")
STEPS = {
    "preprocess": ROOT / "model_repository" / "preprocess" / "1" / "model.py",
    "admission": ROOT / "model_repository" / "admission" / "1" / "model.py",
    "openvino": ROOT / "deploy" / "openvino" / "model.py",
}


@pytest.fixture
def of_before(model_repository: Path, tmp_path: Path) -> Path:
    """A repository with the steps of before."""
    target = linked_copy(model_repository, tmp_path / "repository")
    for step in ("preprocess", "admission"):
        (target / step / "1" / "model.py").unlink()
        shutil.copy(BEFORE / f"{step}.py", target / step / "1" / "model.py")
    record = json.loads((target / "repository.json").read_text())
    del record["files"], record["embedder"]  # were not recorded then
    (target / "repository.json").unlink()
    (target / "repository.json").write_text(json.dumps(record))
    return target


def answer(address: str, film: bytes) -> dict[str, np.ndarray]:
    client = triton.InferenceServerClient(address)
    image = triton.InferInput("IMAGE", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[film]], dtype=np.object_))
    result = client.infer("cxr", [image])
    client.close()
    return {each.name: result.as_numpy(each.name) for each in result.get_response().outputs}


def test_a_repository_with_the_steps_of_before_gives_the_same_answers(
    of_before: Path, triton_server, drawn_film: Callable[..., np.ndarray]
) -> None:
    film = bytes(cv2.imencode(".png", drawn_film() * 16)[1])
    with EmbeddedServer(of_before, device="cpu") as server:
        found = answer(server.grpc_address, film)
    expected = answer(triton_server.grpc_address, film)
    assert found.keys() == expected.keys()
    # Before, a lung map was handed on with all its parts (docs/adr/0023).
    found["LUNGS"] = two_largest_kept(found["LUNGS"].squeeze()).reshape(found["LUNGS"].shape)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_check_names_the_command_that_brings_a_step_of_before_up_to_date(of_before: Path) -> None:
    problems = check_repository(of_before, open_graphs=False)
    assert [problem.model for problem in problems] == ["preprocess", "admission"]
    for problem in problems:
        assert "of an earlier cxr-triton still serves" in problem.what
        command = problem.what[problem.what.index("`cp ") :].strip("`").partition("`")[0]
        subprocess.run(shlex.split(command), check=True)
    assert check_repository(of_before, open_graphs=False) == []


def test_check_says_of_a_step_that_nobody_knows_that_it_may_not_serve(of_before: Path) -> None:
    path = of_before / "preprocess" / "1" / "model.py"
    path.write_text('raise RuntimeError("x")\n')
    (problem, _) = check_repository(of_before, open_graphs=False)
    assert problem.file == "preprocess/1/model.py"
    assert "It is not this cxr-triton's step, and may not serve; `cp " in problem.what
    assert "earlier" not in problem.what


@pytest.mark.parametrize("step", STEPS)
def test_a_step_closes_its_shared_memory_before_it_imports_anything_large(
    tmp_path: Path, step: str
) -> None:
    region = SHARED_MEMORY / f"cxr-test-{os.getpid()}-{step}"
    region.write_bytes(bytes(4096))
    region.chmod(0o644)
    script = (
        "import mmap, os, runpy, sys\n"
        "from pathlib import Path\n"
        "region, model = map(Path, sys.argv[1:3])\n"
        "with region.open('rb') as file:\n"
        "    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in sys.argv[3:]:\n"
        "            print(name, flush=True)\n"
        "            os._exit(region.stat().st_mode & 0o077)\n"
        "sys.meta_path.insert(0, Watch())\n"
        "runpy.run_path(str(model))\n"
    )
    command = [sys.executable, "-c", script, region, STEPS[step], *LARGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    finally:
        region.unlink()
    assert done.stdout.strip() in LARGE, done.stderr
    assert done.returncode == 0  # the rights that others still had


def test_no_region_of_a_server_that_is_ready_can_be_read_by_others(model_repository: Path) -> None:
    with EmbeddedServer(model_repository, device="cpu") as server:
        token = server._runtime.path.name
        modes = {
            path.name: stat.filemode(path.stat().st_mode)
            for path in SHARED_MEMORY.iterdir()
            if token in path.name
        }
    assert len(modes) == 9  # one each: two preprocess, admission, six graphs
    assert set(modes.values()) == {"-rw-------"}
