"""Clients get those of the ensemble's outputs that they ask for, whichever these are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton

from cxrexport.admission import two_largest_kept
from cxrexport.repository import ENSEMBLE, RepositorySpec, read_repository


@pytest.fixture(scope="module")
def spec(triton_server: Any) -> RepositorySpec:
    return read_repository(triton_server.repository)[0]


@pytest.fixture(scope="module")
def film(drawn_film: Callable[..., np.ndarray]) -> bytes:
    return bytes(cv2.imencode(".png", drawn_film() * 16)[1])


def test_every_output_alone_and_all_can_be_asked_for(
    triton_server: Any,
    spec: RepositorySpec,
    film: bytes,
    unequal_subsets: Callable[..., dict[tuple[str, ...], str]],
) -> None:
    """Every pair, and over HTTP, of a built repository in tests/export/test_build.py."""
    names = [tensor.name for tensor in spec.edges(ENSEMBLE).outputs]
    subsets = [*((name,) for name in names), tuple(names)]
    assert len(subsets) == 10
    assert unequal_subsets("grpc", triton_server.grpc_address, film, subsets) == {}


def test_clients_get_the_maps_and_the_embedding_that_the_steps_made(
    triton_server: Any, film: bytes
) -> None:
    client = triton.InferenceServerClient(triton_server.grpc_address)

    def ask(model: str, **inputs: np.ndarray) -> Callable[[str], np.ndarray]:
        tensors = []
        for name, array in inputs.items():
            kind = "BYTES" if array.dtype == np.object_ else "FP32"
            tensors.append(triton.InferInput(name, list(array.shape), kind))
            tensors[-1].set_data_from_numpy(array)
        answer: Callable[[str], np.ndarray] = client.infer(model, tensors).as_numpy
        return answer

    image = np.array([[film]], dtype=np.object_)
    public = ask("cxr", IMAGE=image)
    cxr = ask("preprocess", IMAGE=image)("CXR")
    lungs = ask("segment", CXR=cxr)("LUNGS")
    embedding = ask("resnet50", CXR=cxr, LUNGS=lungs)("EMBEDDING")
    client.close()
    kept = two_largest_kept(lungs[0, 0])[None, None]
    for name, made in (("CXR", cxr), ("LUNGS", kept), ("EMBEDDING", embedding)):
        np.testing.assert_array_equal(public(name), made, err_msg=name)
