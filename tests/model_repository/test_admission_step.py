"""The `admission` step under a real Triton: which reference it trusts, and what it answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from cxrclient.errors import ServeFailed
from cxrclient.serving.embedded import EmbeddedServer
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.repository import RepositorySpec, write_repository

SPEC = RepositorySpec(
    "test", PreprocessingSpec(size_px=64), ("other", "covid"), 0.5, "For tests.", embedding_size=4
)

LEFT, RIGHT, FRAGMENT = np.s_[8:40, 36:56], np.s_[8:40, 8:28], np.s_[50:56, 20:30]
"""Rows and columns of a lung map."""


@pytest.fixture
def admission_only(tmp_path: Path) -> Path:
    """The generated step without a reference, and an ensemble of it alone."""
    built, repository = tmp_path / "built", tmp_path / "repository"
    write_repository(SPEC, built)
    shutil.copytree(built / "admission", repository / "admission")
    (repository / "cxr" / "1").mkdir(parents=True)
    whole = (built / "cxr" / "config.pbtxt").read_text()
    parameters = whole[whole.index("parameters {") : whole.index("ensemble_scheduling {")]
    inputs = (("HEADER_FLAGS", "STRING", "1"), ("CXR", "FP32", "1, 64, 64"))
    inputs += (("LUNGS", "FP32", "1, 64, 64"), ("EMBEDDING", "FP32", "4"))
    tensors = "".join(
        f' input {{ name: "{name}" data_type: TYPE_{kind} dims: [{dims}] }}'
        for name, kind, dims in inputs
    )
    mapped = "".join(f' input_map {{ key: "{name}" value: "{name}" }}' for name, _, _ in inputs)
    (repository / "cxr" / "config.pbtxt").write_text(
        f'{parameters} name: "cxr" platform: "ensemble" max_batch_size: 16 {tensors}'
        ' output { name: "FLAGS" data_type: TYPE_STRING dims: 1 }'
        ' ensemble_scheduling { step { model_name: "admission" model_version: -1'
        f'{mapped} output_map {{ key: "FLAGS" value: "FLAGS" }} }} }}'
    )
    return repository


def inputs_of(facts: list[list[str]]) -> dict[str, np.ndarray]:
    """Noise with these header facts, all in one request; two lungs, and beside them a fragment."""
    random, films = np.random.default_rng(0), len(facts)
    noise = [random.random((films, 1, 64, 64), np.float32) for _ in range(2)]
    lungs = noise[1] * 0.4
    for part in (LEFT, RIGHT, FRAGMENT):
        lungs[..., *part] += 0.6
    header = np.array([[json.dumps(each).encode()] for each in facts], dtype=np.object_)
    return {
        "HEADER_FLAGS": header,
        "CXR": noise[0],
        "LUNGS": lungs,
        "EMBEDDING": random.random((films, 4), np.float32),
    }


def ask(address: str, model: str, arrays: dict[str, np.ndarray]) -> triton.InferResult:
    inputs = []
    for name, array in arrays.items():
        kind = "BYTES" if name == "HEADER_FLAGS" else "FP32"
        inputs.append(triton.InferInput(name, list(array.shape), kind))
        inputs[-1].set_data_from_numpy(array)
    client = triton.InferenceServerClient(address)
    answer = client.infer(model, inputs)
    client.close()
    return answer


def test_without_a_reference_the_header_alone_decides_film_by_film(admission_only: Path) -> None:
    sent = inputs_of([["PADDED"], ["VIEW_LATERAL"], []])
    with EmbeddedServer(admission_only, device="cpu") as server:
        flags = ask(server.grpc_address, "cxr", sent).as_numpy("FLAGS")
        whole = ask(server.grpc_address, "admission", sent)
    expected = [["PADDED"], ["VIEW_LATERAL", "LATERAL_VIEW"], []]
    assert [json.loads(each.item()) for each in flags] == expected
    lungs = sent["LUNGS"].copy()
    lungs[..., *FRAGMENT] = 0
    for name, handed_on in (
        ("CXR", sent["CXR"]),
        ("LUNGS", lungs),
        ("EMBEDDING", sent["EMBEDDING"]),
    ):
        np.testing.assert_array_equal(whole.as_numpy(name), handed_on, err_msg=name)


@pytest.mark.parametrize("content", [None, b"{}"], ids=["missing", "another"])
def test_a_reference_that_is_not_the_recorded_one_is_not_served(
    admission_only: Path, content: bytes | None
) -> None:
    config = admission_only / "admission" / "config.pbtxt"
    config.write_text(config.read_text().replace('"none"', f'"{"0" * 64}"'))
    if content is not None:
        (admission_only / "admission" / "1" / "reference.json").write_bytes(content)
    with pytest.raises(ServeFailed, match=r"reference\.json cannot be used .*cxrexport admission"):
        EmbeddedServer(admission_only, device="cpu").__enter__()
