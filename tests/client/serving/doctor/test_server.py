"""`cxrclient doctor` on a repository and on the real server that serves it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrclient import CxrClient
from cxrclient.cli.app import app
from cxrclient.serving.embedded import EmbeddedServer
from stand_in_plans import (
    L4,
    add_plan,
    examine,
)
from waiting import HANG_S


def test_a_graph_that_is_missing_or_not_the_recorded_one_is_wrong(
    repository: Path, no_gpu: None
) -> None:
    path = repository / "average/1/model.onnx"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content + b"\0")
    (repository / "vgg16/1/model.onnx").unlink()
    code, checks = examine(repository)
    assert code == 1
    finding = checks["repository"][0]["finding"]
    assert "average/1/model.onnx has sha256 " in finding
    assert "vgg16/1/model.onnx is missing" in finding
    assert checks["repository"][0]["mend"].startswith("cxrexport build --repository")


def test_a_folder_that_is_no_repository_is_wrong(tmp_path: Path, no_gpu: None) -> None:
    (tmp_path / "nothing").mkdir()
    code, checks = examine(tmp_path / "nothing")
    assert code == 1
    assert "no repository.json" in checks["repository"][0]["finding"]


def test_a_server_of_this_repository_is_ok(triton_server: Any) -> None:
    code, checks = examine(triton_server.repository, "--server", triton_server.grpc_address)
    subject = f"server {triton_server.grpc_address}"
    assert code == 0
    assert [check["verdict"] for check in checks[subject]] == ["ok", "ok"]
    assert "the graphs run in openvino" in checks[subject][1]["finding"]


@pytest.mark.parametrize("step", ["preprocess", "resnet34"])
def test_a_dead_step_is_wrong_though_the_server_is_ready(
    model_repository: Path,
    unsupervised: EmbeddedServer,
    kill_step: Callable[..., None],
    no_gpu: None,
    step: str,
) -> None:
    kill_step(unsupervised, step)
    connection = http.client.HTTPConnection(unsupervised.http_address, timeout=600)
    connection.request("GET", "/v2/health/ready")
    assert connection.getresponse().status == 200
    connection.close()  # the server waits for it before it ends
    for _ in range(2):  # whichever instance is next
        code, checks = examine(model_repository, "--server", unsupervised.grpc_address)
        (check,) = checks[f"steps of {unsupervised.grpc_address}"]
        assert (code, check["verdict"]) == (1, "wrong")
        assert f"The step {step} of the server has died." in check["finding"]
        assert check["mend"] == f"cxrclient serve --model-repository {model_repository}"


def test_every_step_has_answered_a_film_on_a_server_that_is_ok(triton_server: Any) -> None:
    _, checks = examine(triton_server.repository, "--server", triton_server.grpc_address)
    (check,) = checks[f"steps of {triton_server.grpc_address}"]
    assert check["verdict"] == "ok"
    assert check["finding"] == "all have answered 4 times (instances: preprocess 2)"


def test_among_other_peoples_films_more_are_sent_and_it_is_said(
    triton_server: Any, drawn_film: Callable[..., Any], write_dicom: Callable[..., Path], tmp_path
) -> None:
    film, done = write_dicom(tmp_path / "film.dcm", drawn_film()), threading.Event()
    begun = threading.Event()

    def send() -> None:
        with CxrClient(triton_server.grpc_address, gate=False) as client:
            while not done.is_set():
                client.predict(film)
                begun.set()

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        try:
            assert begun.wait(HANG_S)
            _, checks = examine(triton_server.repository, "--server", triton_server.grpc_address)
        finally:
            done.set()
        sending.result()
    (check,) = checks[f"steps of {triton_server.grpc_address}"]
    assert check["verdict"] == "ok"
    assert "have answered 32 times" in check["finding"]
    assert "others send films too" in check["finding"]


def test_a_repository_without_its_film_is_said(repository: Path, triton_server: Any) -> None:
    (repository / "preprocess" / "warmup" / "film.bytes").unlink()
    code, checks = examine(repository, "--server", triton_server.grpc_address)
    (check,) = checks[f"steps of {triton_server.grpc_address}"]
    assert (code, check["verdict"]) == (1, "note")
    assert "film.bytes cannot be read" in check["finding"]
    assert "film.bytes is missing" in checks["repository"][0]["finding"]


def edit_record(repository: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = repository / "repository.json"
    record = json.loads(path.read_text())
    change(record)
    path.unlink()
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda record: record.update(model_digest="f" * 64), "the repository has ffffffffffff"),
        (lambda record: record["spec"].update(threshold=0.25), "the repository says 0.25"),
    ],
)
def test_a_server_of_another_repository_is_wrong(
    repository: Path, triton_server: Any, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    edit_record(repository, change)
    code, checks = examine(repository, "--server", triton_server.grpc_address)
    check = checks[f"server {triton_server.grpc_address}"][0]
    assert (code, check["verdict"]) == (1, "wrong")
    assert says in check["finding"]
    assert check["mend"] == f"cxrclient serve --model-repository {repository}"
    if "repository has" in says:
        (steps,) = checks[f"steps of {triton_server.grpc_address}"]
        assert "asked with no film: it does not serve" in steps["finding"]


def test_a_server_that_was_asked_for_and_is_not_there_is_wrong(
    repository: Path, free_address: str, no_gpu: None
) -> None:
    code, checks = examine(repository, "--server", free_address)
    assert code == 1
    assert checks[f"server {free_address}"][0]["mend"].startswith("cxrclient serve")


def test_a_bad_address_is_wrong_usage(repository: Path) -> None:
    command = ["doctor", "--model-repository", str(repository), "--server", "http://x"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2


def test_the_table_ends_with_each_command_once_and_unbroken(
    planned: Path, gpu: Callable[..., None]
) -> None:
    gpu(L4)
    for graph in ("vgg16", "average"):
        add_plan(planned, graph, onnx_sha256="0" * 64)
    result = CliRunner().invoke(app, ["doctor", "--model-repository", str(planned)])
    assert result.exit_code == 1
    command = f"  cxrexport engines --repository {planned} --flavour tensorrt"
    assert result.stdout.splitlines().count(command) == 1


@pytest.mark.parametrize(
    ("finding", "verdict", "told"),
    [
        (
            {"scheme": "SCT", "value": "56717001", "meaning": "Tuberculosis"},
            "ok",
            "model starter, finding Tuberculosis (SCT 56717001), digest",
        ),
        ({"scheme": "SCT", "value": 56717001, "meaning": "Tuberculosis"}, "wrong", "in quotation"),
        ("tuberculosis", "wrong", "its finding cannot be"),
    ],
    ids=["a code", "a number", "a word"],
)
def test_the_finding_that_a_repository_records_is_told(
    repository: Path, no_gpu: None, finding: object, verdict: str, told: str
) -> None:
    path = repository / "repository.json"
    record = json.loads(path.read_text())
    record["spec"] |= {"finding": finding, "model_name": "starter"}
    path.unlink()
    path.write_text(json.dumps(record))
    _, checks = examine(repository)
    (check,) = checks["repository"]
    assert check["verdict"] == verdict
    assert told in check["finding"]
