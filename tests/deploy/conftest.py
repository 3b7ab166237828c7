"""What deploy/ holds, and a real server started by the image's own entrypoint."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from orthanc import free_port
from waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def deploy() -> Path:
    return ROOT / "deploy"


@pytest.fixture(scope="session")
def version() -> str:
    """This project's version, which the image is tagged with."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Finds a program that a PyPI package puts beside this Python, or skips."""

    def find(name: str) -> str:
        beside = Path(sys.executable).with_name(name)
        found = str(beside) if beside.is_file() else shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        return found

    return find


@pytest.fixture(scope="session")
def compose(deploy: Path) -> dict[str, Any]:
    """compose.yaml, merged, without its variables filled in."""
    return yaml.safe_load((deploy / "compose.yaml").read_text())


@pytest.fixture(scope="session")
def composed() -> Callable[[Path], list[dict[str, Any]]]:
    """Composes a kustomization: the manifests that `kubectl apply --kustomize DIR` would apply."""
    return compose_kustomization


def compose_kustomization(directory: Path) -> list[dict[str, Any]]:
    """Do what kustomize does with the features that deploy/kubernetes uses, and refuse others.

    `test_the_composition_is_kustomizes_own` holds it against kustomize where that is installed.
    """
    from jsonpatch import JsonPatch

    spec = yaml.safe_load((directory / "kustomization.yaml").read_text())
    known = {"apiVersion", "kind", "namespace", "labels", "resources", "images", "patches"}
    assert set(spec) <= known, f"teach compose_kustomization {set(spec) - known}"
    manifests: list[dict[str, Any]] = []
    for name in spec["resources"]:
        path = directory / name
        if path.is_dir():
            manifests += compose_kustomization(path)
        else:
            manifests += list(yaml.safe_load_all(path.read_text()))
    for patch in spec.get("patches", []):
        operations = yaml.safe_load((directory / patch["path"]).read_text())
        target = patch["target"]
        for number, manifest in enumerate(manifests):
            if (manifest["kind"], manifest["metadata"]["name"]) == (target["kind"], target["name"]):
                manifests[number] = JsonPatch(operations).apply(manifest)
    for manifest in manifests:
        _transform(manifest, spec)
    return manifests


def _transform(manifest: dict[str, Any], spec: dict[str, Any]) -> None:
    metadata = manifest["metadata"]
    if "namespace" in spec and manifest["kind"] != "Namespace":
        metadata["namespace"] = spec["namespace"]
    template = manifest.get("spec", {}).get("template")
    for labels in spec.get("labels", []):
        assert set(labels) <= {"pairs", "includeTemplates"}
        metadata.setdefault("labels", {}).update(labels["pairs"])
        if template and labels.get("includeTemplates"):
            template["metadata"].setdefault("labels", {}).update(labels["pairs"])
    images = {
        image["name"]: f"{image['newName']}:{image['newTag']}" for image in spec.get("images", [])
    }
    for container in template["spec"]["containers"] if template else []:
        container["image"] = images.get(container["image"].partition(":")[0], container["image"])


@dataclass
class Deployed:
    """A server that the image's entrypoint started, with the flags of the image."""

    process: subprocess.Popen[bytes]
    log: Path
    grpc_port: int
    http_port: int
    metrics_port: int

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask the HTTP endpoint; status and body."""
        return _ask(self.http_port, path, method)

    def metrics(self) -> str:
        return _ask(self.metrics_port, "/metrics")[1]


def _ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="session")
def deployed(tmp_path_factory, model_repository: Path) -> Iterator[Deployed]:
    """The image as it starts by default, but on the CPU."""
    with _deploy(tmp_path_factory.mktemp("deployed"), model_repository) as server:
        yield server


@pytest.fixture
def deployed_with_key(tmp_path: Path, tiny_repository: Path) -> Iterator[Deployed]:
    """The image with an operator's key, `the test's`, and next to nothing to serve."""
    with _deploy(tmp_path, tiny_repository, CXR_ADMIN_KEY="the test's") as server:
        yield server


@pytest.fixture
def deployed_to_be_hurt(tmp_path: Path, model_repository: Path) -> Iterator[Deployed]:
    """The image as it starts by default, for one test."""
    with _deploy(tmp_path, model_repository) as server:
        yield server


@contextlib.contextmanager
def _deploy(directory: Path, seed: Path, **environment: str) -> Iterator[Deployed]:
    """deploy/docker/entrypoint.sh on the CPU, with the real tritonserver of this environment."""
    if sys.platform != "linux":
        pytest.skip("tritonserver runs on Linux only")
    from cxrclient.serving.runtime_directory import RuntimeDirectory
    from cxrclient.serving.tritonserver import find_installation, server_environment

    runtime = RuntimeDirectory()
    installation = find_installation()
    programs = directory / "bin"
    programs.mkdir()
    (programs / "tritonserver").symlink_to(installation.binary)
    path = [str(runtime.link_python()), str(programs), os.environ["PATH"]]
    environment = {
        **server_environment(installation),
        "PATH": os.pathsep.join(path),
        "CXR_DEVICE": "cpu",
        "CXR_PRECISION": "f32",
        "CXR_SEED": str(seed),
        "CXR_REPOSITORY": str(directory / "volume/repository"),
        "CXR_BACKENDS": str(runtime.link_backends(installation)),
        **environment,
    }
    http_port, grpc_port, metrics_port = (free_port() for _ in range(3))
    log = directory / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                str(ROOT / "deploy/docker/entrypoint.sh"),
                f"--http-port={http_port}",
                f"--grpc-port={grpc_port}",
                f"--metrics-port={metrics_port}",
            ],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    server = Deployed(process, log, grpc_port, http_port, metrics_port)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(45)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        runtime.release()


def _wait_until_ready(server: Deployed) -> None:
    def ready() -> bool:
        assert server.process.poll() is None, server.log.read_text()[-3000:]
        try:
            return server.get("/v2/health/ready")[0] == http.client.OK
        except OSError:
            return False

    eventually(ready, "the server is not ready")


@pytest.fixture(scope="session")
def dashboard(deploy: Path) -> dict[str, Any]:
    text = (deploy / "monitoring/grafana/dashboards/cxr-triton.json").read_text()
    return json.loads(text)


@pytest.fixture(scope="session")
def expressions(deploy: Path, dashboard: dict[str, Any]) -> dict[str, str]:
    """Every PromQL expression of deploy/, by where it stands, its variables filled in."""
    found = {}
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            filled = target["expr"].replace("$__rate_interval", "1m")
            filled = re.sub(r"\$(instance|node)\b", ".*", filled)
            found[f"panel {panel['title']}, {target['refId']}"] = filled
    for each in dashboard["templating"]["list"]:
        values = each["query"]["query"]
        found[f"variable {each['name']}"] = re.sub(r"label_values\((.*), \w+\)", r"\1", values)
    alerts = yaml.safe_load((deploy / "monitoring/alerts.yaml").read_text())
    for group in alerts["groups"]:
        for rule in group["rules"]:
            found[f"alert {rule['alert']}"] = rule["expr"]
    adapter = yaml.safe_load((deploy / "kubernetes/prometheus-adapter.yaml").read_text())
    for rule in adapter["rules"]["custom"]:
        found[f"series of {rule['name']['as']}"] = rule["seriesQuery"]
        query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod")
        found[f"metric {rule['name']['as']}"] = query.replace(
            "<<.LabelMatchers>>", 'namespace="cxr",pod=~"a|b"'
        )
    return found
