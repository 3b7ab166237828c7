"""The `preprocess` step under a real Triton: which code it trusts, and what it lets out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from cxrclient.errors import ServeFailed
from cxrclient.serving.embedded import EmbeddedServer
from cxrexport.phantom import write_phantoms
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.repository import RepositorySpec, write_repository

PACKAGE = Path(__file__).parents[2] / "export" / "cxrexport"
SPEC = PreprocessingSpec(size_px=32)


@pytest.fixture
def preprocess_only(tmp_path: Path) -> Path:
    """The generated step, and an ensemble of it alone: no graphs to load."""
    built, repository = tmp_path / "built", tmp_path / "repository"
    write_repository(RepositorySpec("test", SPEC, ("other", "covid"), 0.5, "For tests."), built)
    shutil.copytree(built / "preprocess", repository / "preprocess")
    (repository / "cxr" / "1").mkdir(parents=True)
    whole = (built / "cxr" / "config.pbtxt").read_text()
    parameters = whole[whole.index("parameters {") : whole.index("ensemble_scheduling {")]
    (repository / "cxr" / "config.pbtxt").write_text(
        parameters + 'name: "cxr" platform: "ensemble" max_batch_size: 16'
        ' input { name: "IMAGE" data_type: TYPE_STRING dims: 1 }'
        ' output { name: "CXR" data_type: TYPE_FP32 dims: [1, 32, 32] }'
        ' ensemble_scheduling { step { model_name: "preprocess" model_version: -1'
        ' input_map { key: "IMAGE" value: "IMAGE" } output_map { key: "CXR" value: "CXR" } } }'
    )
    return repository


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_another_preprocessing_digest_than_the_codes_own_is_not_served(
    preprocess_only: Path,
) -> None:
    edit(preprocess_only / "preprocess" / "config.pbtxt", SPEC.digest, "0" * 64)
    with pytest.raises(ServeFailed, match=r"model preprocess does not load: preprocessing digest"):
        EmbeddedServer(preprocess_only, device="cpu").__enter__()


def test_a_preprocessing_that_the_code_does_not_know_is_not_served(preprocess_only: Path) -> None:
    config = preprocess_only / "preprocess" / "config.pbtxt"
    edit(config, "clahe_tiles", "clahe_squares")
    with pytest.raises(ServeFailed, match=r"does not understand.* unknown keys \['clahe_squares'"):
        EmbeddedServer(preprocess_only, device="cpu").__enter__()


def test_an_unexpected_failure_tells_nothing_of_the_patient(
    preprocess_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A copy of the package with a defect that quotes the film, first on the import path.
    shadow = tmp_path / "shadow"
    shutil.copytree(PACKAGE, shadow / "cxrexport", ignore=shutil.ignore_patterns("__pycache__"))
    with (shadow / "cxrexport" / "preprocessing" / "__init__.py").open("a") as module:
        module.write(
            "\n_working = preprocess\n"
            "def preprocess(encoded, spec):\n"
            "    if b'DOE^JANE' in encoded:\n"
            "        raise KeyError(encoded[-20:])\n"
            "    return _working(encoded, spec)\n"
        )
    monkeypatch.syspath_prepend(shadow)
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16
    film = bytes(cv2.imencode(".png", ramp)[1])
    log = tmp_path / "triton.log"
    with EmbeddedServer(preprocess_only, device="cpu", log_file=log) as server:
        client = triton.InferenceServerClient(server.grpc_address)
        image = triton.InferInput("IMAGE", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[film + b"DOE^JANE"]], dtype=np.object_))
        with pytest.raises(InferenceServerException) as raised:
            client.infer("cxr", [image])
        image.set_data_from_numpy(np.array([[film]], dtype=np.object_))
        assert client.infer("cxr", [image]).as_numpy("CXR").shape == (1, 1, 32, 32)
        client.close()
    message = str(raised.value.message())
    assert "INTERNAL: preprocessing failed unexpectedly (KeyError in __init__.py, line" in message
    for text in (message, log.read_text()):
        assert "DOE" not in text
    assert "preprocessing failed unexpectedly: KeyError" in log.read_text()


def test_the_first_film_finds_all_modules_loaded(preprocess_only: Path, tmp_path: Path) -> None:
    warmup = preprocess_only / "preprocess" / "warmup" / "film.bytes"
    write_phantoms(1, tmp_path / "films", seed=1, size_px=128)
    (film,) = (tmp_path / "films").rglob("*.dcm")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from cxrexport.preprocessing import decode_film\n"
        "decode_film(Path(sys.argv[1]).read_bytes()[4:])\n"
        "loaded = {*sys.modules}\n"
        "decode_film(Path(sys.argv[2]).read_bytes())\n"
        "print(*sorted({*sys.modules} - loaded))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, warmup, film], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
