"""The real server as the image's entrypoint starts it."""

from __future__ import annotations

import re

import numpy as np
import pytest

import closed_apis
from waiting import eventually


def test_the_real_server_predicts(deployed, write_dicom, tmp_path):
    from cxrclient import CxrClient

    with CxrClient(f"127.0.0.1:{deployed.grpc_port}") as client:
        prediction = client.predict(write_dicom(tmp_path / "film.dcm"))

    assert 0 <= prediction.probability <= 1


def test_nobody_administers_the_server_not_even_with_the_key_that_its_arguments_show(deployed):
    found = closed_apis.restricted_by(deployed.process.pid)
    (header, key), (name, value) = found["http"], found["grpc"]
    over_grpc = closed_apis.literal(f"triton-grpc-protocol-{name}".encode(), value.encode())

    for call in closed_apis.HTTP:
        assert closed_apis.http(deployed.http_port, call) == 403, call
        exact = f"{header}: {key}".encode()
        assert closed_apis.http(deployed.http_port, call, exact) in (None, 400), call
    for method in closed_apis.GRPC:
        assert closed_apis.grpc(deployed.grpc_port, method) == "restricted", method
        assert closed_apis.grpc(deployed.grpc_port, method, over_grpc) == "broken off", method


def test_the_operators_key_administers_the_server(deployed_with_key):
    from tritonclient.grpc import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    client = InferenceServerClient(f"127.0.0.1:{deployed_with_key.grpc_port}")
    index, key = "POST /v2/repository/index", b"cxr-admin-key: the test's"

    with pytest.raises(InferenceServerException, match="restricted"):
        client.get_model_repository_index()
    assert client.get_model_repository_index(
        headers={"triton-grpc-protocol-cxr-admin-key": "the test's"}
    )
    assert closed_apis.http(deployed_with_key.http_port, index) == 403
    assert closed_apis.http(deployed_with_key.http_port, index, key) == 200


def test_the_image_closes_what_serve_closes(container):
    from cxrclient.serving.exposure import CLOSED_APIS, UNSENDABLE_HEADER

    container.start(CXR_DEVICE="cpu")
    words = "\n".join(container.asked)

    for option in ("--http-restricted-api", "--grpc-restricted-protocol"):
        assert f"{option}={','.join(CLOSED_APIS)}:{UNSENDABLE_HEADER}=" in words


def test_vertex_ai_gets_no_endpoint(container):
    # Triton opens one where it sees AIP_MODE=PREDICTION, and passes on by it what is closed.
    (container.programs / "tritonserver").write_text('#!/bin/sh\nenv >"$NOTES"\n')
    container.start(CXR_DEVICE="cpu", AIP_MODE="PREDICTION")

    assert "CXR_DEVICE=cpu" in container.asked
    assert "AIP_MODE=PREDICTION" not in container.asked


def test_what_clients_need_stays_open(deployed):
    for path in ("/v2/health/live", "/v2/models/cxr/config", "/v2/models/cxr/stats"):
        assert deployed.get(path)[0] == 200, path


def test_a_refused_film_is_counted_by_preprocess_and_no_further(deployed):
    """Alerts and dashboard tell refused films from lost ones by it, and not by failures."""
    from tritonclient.grpc import InferenceServerClient, InferInput
    from tritonclient.utils import InferenceServerException

    film = InferInput("IMAGE", [1, 1], "BYTES")
    film.set_data_from_numpy(np.array([[b"no film"]], dtype=np.object_))
    before = _entered(deployed.metrics())
    with pytest.raises(InferenceServerException, match="NOT_READABLE"):
        InferenceServerClient(f"127.0.0.1:{deployed.grpc_port}").infer("cxr", [film])
    # The server answers first and counts then.
    eventually(lambda: _entered(deployed.metrics())["preprocess"] != before["preprocess"])
    after = _entered(deployed.metrics())

    more = {model: after[model] - before[model] for model in ("preprocess", "segment")}
    assert more == {"preprocess": 1, "segment": 0}
    networks = r'^nv_inference_request_failure{model="(?!cxr|preprocess).* [1-9]\d*$'
    assert not re.search(networks, deployed.metrics(), re.MULTILINE)


def _entered(metrics: str) -> dict[str, int]:
    """Requests by model that its backend answered, in whichever way it counts them."""
    counts: dict[str, int] = {}
    pattern = r'^nv_inference_request_(?:success|failure){model="(\w+)",.*} (\d+)$'
    for model, count in re.findall(pattern, metrics, re.MULTILINE):
        counts[model] = counts.get(model, 0) + int(count)
    return counts
