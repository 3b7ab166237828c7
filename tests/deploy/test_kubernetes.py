"""The manifests: valid, restricted, and agreeing with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from cxrexport.ensemble import MOST_MEMBERS, graphs_of

KUSTOMIZATIONS = ("overlays/gpu", "overlays/cpu", "archive", "node")
GRAPHS = len(graphs_of(["member"] * MOST_MEMBERS))
"""segment, the most members there may be, average: what a GPU node builds."""


@pytest.fixture
def manifests(deploy, composed):
    """What would be applied, by kind and name."""

    def read(kustomization: str) -> dict[tuple[str, str], dict[str, Any]]:
        documents = composed(deploy / "kubernetes" / kustomization)
        return {(each["kind"], each["metadata"]["name"]): each for each in documents}

    return read


@pytest.fixture(params=["overlays/gpu", "overlays/cpu"])
def overlay(request, manifests):
    return manifests(request.param)


@pytest.fixture(params=KUSTOMIZATIONS)
def workload(request, manifests) -> dict[str, Any]:
    (found,) = [
        each for each in manifests(request.param).values() if "template" in each.get("spec", {})
    ]
    return found["spec"]


@pytest.fixture
def pod(workload) -> dict[str, Any]:
    """The pod of each workload."""
    return workload["template"]


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_the_composition_is_kustomizes_own(kustomization, deploy, composed):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip(
            "kubectl is not installed; what the tests compose is held against it where it is"
        )
    directory = deploy / "kubernetes" / kustomization

    result = subprocess.run(
        [kubectl, "kustomize", str(directory)], capture_output=True, text=True, check=True
    )

    own = sorted(yaml.safe_load_all(result.stdout), key=_place)
    assert sorted(composed(directory), key=_place) == own


def _place(manifest: dict[str, Any]) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


@pytest.mark.parametrize("release", ["1.32", "1.37"])
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_kubernetes_own_schemas_find_nothing(kustomization, release, manifests):
    import kubernetes_validate

    for manifest in manifests(kustomization).values():
        kubernetes_validate.validate(manifest, release, strict=True)


def test_every_file_is_part_of_a_kustomization(deploy):
    directory = deploy / "kubernetes"
    named = {directory / "prometheus-adapter.yaml"}  # Helm's
    for file in directory.rglob("kustomization.yaml"):
        spec = yaml.safe_load(file.read_text())
        entries = [*spec["resources"], *(patch["path"] for patch in spec.get("patches", []))]
        named |= {file} | {(file.parent / entry).resolve() for entry in entries}

    assert set(directory.rglob("*.yaml")) - named == set()


def test_a_pod_keeps_to_the_restricted_standard(pod):
    """Source: Kubernetes, Pod Security Standards, "Restricted"; and a read-only root besides."""
    spec = pod["spec"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    kinds = {next(key for key in volume if key != "name") for volume in spec["volumes"]}
    assert kinds <= {"emptyDir", "persistentVolumeClaim", "configMap", "secret"}


def test_a_pod_runs_the_image_of_this_version(pod, version):
    (container,) = pod["spec"]["containers"]

    name = "cxr-node" if container["name"] == "node" else "cxr-triton"
    assert container["image"] == f"registry.example.org/{name}:{version}"


def test_a_container_mounts_its_pods_volumes(pod, workload):
    (container,) = pod["spec"]["containers"]
    claims = [each["metadata"]["name"] for each in workload.get("volumeClaimTemplates", [])]

    mounted = [mount["name"] for mount in container["volumeMounts"]]
    assert sorted(mounted) == sorted(
        [*claims, *(volume["name"] for volume in pod["spec"]["volumes"])]
    )


def test_claims_and_configuration_are_there(overlay, manifests):
    every = overlay | manifests("archive")
    # `films` and the key are the hospital's own (archive/job.yaml says how they are made).
    for manifest in every.values():
        template = manifest.get("spec", {}).get("template")
        for volume in template["spec"]["volumes"] if template else []:
            claim = volume.get("persistentVolumeClaim", {}).get("claimName", "films")
            assert claim == "films" or ("PersistentVolumeClaim", claim) in every
        for container in template["spec"]["containers"] if template else []:
            for source in container.get("envFrom", []):
                assert ("ConfigMap", source["configMapRef"]["name"]) in every


def test_everything_that_selects_the_servers_pods_finds_them(overlay):
    deployment = overlay["Deployment", "cxr-triton"]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        overlay["Service", "cxr-triton"]["spec"]["selector"],
        overlay["PodDisruptionBudget", "cxr-triton"]["spec"]["selector"]["matchLabels"],
        overlay["NetworkPolicy", "cxr-triton"]["spec"]["podSelector"]["matchLabels"],
        overlay["NetworkPolicy", "cxr-client"]["spec"]["egress"][0]["to"][0]["podSelector"][
            "matchLabels"
        ],
        spread["labelSelector"]["matchLabels"],
    ]

    for selector in selectors:
        assert selector
        assert selector.items() <= labels


def test_ports_are_the_images_and_have_the_same_names_everywhere(overlay, deploy):
    exposed = re.findall(r"^EXPOSE (.+)$", (deploy / "docker/Dockerfile").read_text(), re.M)[-1]
    template = overlay["Deployment", "cxr-triton"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    service = overlay["Service", "cxr-triton"]["spec"]["ports"]

    assert sorted(map(str, ports.values())) == sorted(exposed.split())
    assert {port["name"]: port["port"] for port in service} == ports
    assert all(port["targetPort"] == port["name"] for port in service)
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(ports["metrics"])
    for rule in overlay["NetworkPolicy", "cxr-triton"]["spec"]["ingress"]:
        assert {port["port"] for port in rule["ports"]} <= set(ports)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "http"


def test_the_server_talks_to_nobody(overlay):
    policy = overlay["NetworkPolicy", "cxr-triton"]["spec"]

    assert policy["egress"] == []
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}


def test_clients_reach_grpc_alone_and_the_monitoring_the_metrics_alone(overlay):
    ingress = overlay["NetworkPolicy", "cxr-triton"]["spec"]["ingress"]
    egress = overlay["NetworkPolicy", "cxr-client"]["spec"]["egress"]

    assert [rule["ports"] for rule in ingress] == [[{"port": "grpc"}], [{"port": "metrics"}]]
    assert ingress[1]["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ]
    assert egress[0]["ports"] == [{"port": 8001}]


def test_clients_are_told_where_the_server_and_milvus_are_and_let_through(overlay):
    data = overlay["ConfigMap", "cxr-client"]["data"]
    service = overlay["Service", "cxr-triton"]
    policy = overlay["NetworkPolicy", "cxr-client"]["spec"]["egress"]
    server = urlsplit(f"//{data['CXR_SERVER']}")
    milvus = urlsplit(data["CXR_MILVUS_URI"])
    name, namespace, *_ = server.hostname.split(".")

    assert (name, namespace) == (service["metadata"]["name"], service["metadata"]["namespace"])
    assert server.port in {port["port"] for port in policy[0]["ports"]}
    assert {"port": milvus.port} in policy[1]["ports"]
    namespaces = policy[1]["to"][0]["namespaceSelector"]["matchLabels"]
    assert namespaces["kubernetes.io/metadata.name"] == milvus.hostname.split(".")[1]


def test_the_archives_job_is_a_client(manifests):
    job = manifests("archive")["Job", "cxr-archive"]["spec"]["template"]
    base = manifests("overlays/cpu")
    client = base["NetworkPolicy", "cxr-client"]["spec"]["podSelector"]["matchLabels"]

    assert client.items() <= job["metadata"]["labels"].items()
    assert base["NetworkPolicy", "cxr-triton"]["spec"]["ingress"][0]["from"] == [
        {"podSelector": {"matchLabels": client}}
    ]


def test_variables_are_ones_that_the_entrypoint_reads(overlay, compose, deploy):
    head = (deploy / "docker/entrypoint.sh").read_text().partition("set -eu")[0]
    known = set(re.findall(r"^#   (CXR_\w+) ", head, re.MULTILINE))
    (container,) = overlay["Deployment", "cxr-triton"]["spec"]["template"]["spec"]["containers"]
    used = {variable["name"] for variable in container["env"]}
    for service in compose["services"].values():
        used |= {name for name in service.get("environment", {}) if name.startswith("CXR_")}

    assert used <= known


def test_the_start_up_probe_of_a_gpu_allows_for_building_its_engines(manifests, compose):
    deployment = manifests("overlays/gpu")["Deployment", "cxr-triton"]["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    probe = container["startupProbe"]
    allowed_s = probe["periodSeconds"] * probe["failureThreshold"]

    assert allowed_s == GRAPHS * 600 + 300  # as deployment.yaml and docs/gpu-node.md compute it
    assert deployment["progressDeadlineSeconds"] > allowed_s
    assert compose["services"]["triton"]["healthcheck"]["start_period"] == "1h"


def test_without_a_gpu_nothing_waits_an_hour(manifests):
    deployment = manifests("overlays/cpu")["Deployment", "cxr-triton"]["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    probe = container["startupProbe"]

    assert probe["periodSeconds"] * probe["failureThreshold"] <= 300


def test_only_the_gpu_overlay_asks_for_a_gpu(manifests):
    pods = {
        name: manifests(f"overlays/{name}")["Deployment", "cxr-triton"]["spec"]["template"]["spec"]
        for name in ("gpu", "cpu")
    }
    limits = {name: pod["containers"][0]["resources"]["limits"] for name, pod in pods.items()}
    devices = {name: pod["containers"][0]["env"][0]["value"] for name, pod in pods.items()}

    assert limits["gpu"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in limits["cpu"]
    assert devices == {"gpu": "gpu", "cpu": "cpu"}
    assert set(pods["gpu"]["nodeSelector"]) == {"nvidia.com/gpu.product"}
    assert "nodeSelector" not in pods["cpu"]


def test_films_in_flight_may_end_before_a_pod_is_killed(overlay, deploy):
    timeout = re.search(
        r"--exit-timeout-secs=(\d+)", (deploy / "docker/entrypoint.sh").read_text()
    )[1]
    spec = overlay["Deployment", "cxr-triton"]["spec"]["template"]["spec"]
    pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert spec["terminationGracePeriodSeconds"] > pause + int(timeout)


def test_shared_memory_is_memory_and_fits_into_the_limit(overlay):
    from cxrclient.serving.tritonserver import ENOUGH_SHARED_MEMORY

    spec = overlay["Deployment", "cxr-triton"]["spec"]["template"]["spec"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == "shared-memory"]
    (mount,) = [
        each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "shared-memory"
    ]

    assert mount["mountPath"] == "/dev/shm"
    assert volume["emptyDir"]["medium"] == "Memory"
    size = _bytes(volume["emptyDir"]["sizeLimit"])
    assert size >= ENOUGH_SHARED_MEMORY
    assert size <= _bytes(spec["containers"][0]["resources"]["limits"]["memory"]) / 2


def test_a_gpus_pod_has_the_memory_and_cores_of_the_sums(manifests):
    """docs/gpu-node.md has the sums."""
    deployment = manifests("overlays/gpu")["Deployment", "cxr-triton"]["spec"]["template"]["spec"]
    resources = deployment["containers"][0]["resources"]

    assert resources["requests"] == {"cpu": "8", "memory": "16Gi"}
    assert resources["limits"] == {"memory": "24Gi", "nvidia.com/gpu": "1"}


def _bytes(quantity: str) -> int:
    return int(quantity.removesuffix("Gi")) * 2**30


def test_replicas_follow_the_metric_that_the_adapter_makes(manifests, deploy):
    autoscaler = manifests("overlays/gpu")["HorizontalPodAutoscaler", "cxr-triton"]["spec"]
    values = yaml.safe_load((deploy / "kubernetes/prometheus-adapter.yaml").read_text())
    made = {rule["name"]["as"] for rule in values["rules"]["custom"]}
    target = autoscaler["scaleTargetRef"]

    assert autoscaler["metrics"][0]["pods"]["metric"]["name"] in made
    assert (target["kind"], target["name"]) in manifests("overlays/gpu")


def test_a_drain_may_always_go_on(overlay):
    budget = overlay["PodDisruptionBudget", "cxr-triton"]["spec"]

    # minAvailable: 1 would block the drain of a node that holds the only replica.
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget
