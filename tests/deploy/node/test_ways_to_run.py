"""The ways to run the node: each starts it with options that it has, and that go together."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer.main
import yaml

from cxrclient.cli.app import app

SECONDS_TO_END = 30
"""What films in hand get after SIGTERM."""


@pytest.fixture
def stateful(deploy, composed) -> dict[str, dict[str, Any]]:
    """The node's manifests, by kind; of the services, the pod's own."""
    found = composed(deploy / "kubernetes/node")
    return {each["kind"]: each for each in reversed(found)}


@pytest.fixture
def container(stateful) -> dict[str, Any]:
    (found,) = stateful["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    return found


@pytest.fixture
def commands(deploy, compose, container) -> dict[str, list[str]]:
    """What each way hands to `cxrclient`."""
    unit = (deploy / "systemd/cxr-node.service").read_text()
    (started,) = re.findall(r"^ExecStart=(\S+) (.+)$", unit, re.MULTILINE)
    assert started[0].endswith("/bin/cxrclient")
    options = re.search(r'CXR_NODE_OPTIONS="([^"]+)"', (deploy / "compose.yaml").read_text())[1]
    composed = compose["services"]["node"]["command"].replace("${CXR_NODE_OPTIONS:-}", options)
    return {
        "systemd": shlex.split(started[1].replace("$NODE_OPTIONS", "--peer PACS@pacs:104")),
        "compose": shlex.split(composed),
        "kubernetes": container["args"],
    }


@pytest.mark.parametrize("way", ["systemd", "compose", "kubernetes"])
def test_the_command_is_understood(commands, way):
    node, run, *options = commands[way]
    assert (node, run) == ("node", "run")
    command = typer.main.get_command(app).commands["node"].commands["run"]  # type: ignore[attr-defined]

    with command.make_context("run", list(options)) as context:
        told = context.params

    assert told["spool"].is_relative_to("/var/lib/cxr-node")
    assert told["peer"]
    if way != "systemd":
        assert told["host"] == "0.0.0.0"
        assert told["allow"]
        assert told["results_token_file"]


def test_all_end_later_than_films_in_hand(deploy, compose, stateful):
    unit = (deploy / "systemd/cxr-node.service").read_text()
    graces = [
        re.search(r"^TimeoutStopSec=(\d+)s$", unit, re.MULTILINE)[1],
        compose["services"]["node"]["stop_grace_period"].removesuffix("s"),
        stateful["StatefulSet"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
    ]

    assert all(int(each) > SECONDS_TO_END for each in graces)


def test_the_ports_are_the_images_and_the_commands_own(deploy, compose, container, stateful):
    exposed = re.findall(r"^EXPOSE (.+)$", (deploy / "docker/Dockerfile").read_text(), re.M)[0]
    command = typer.main.get_command(app).commands["node"].commands["run"]  # type: ignore[attr-defined]
    own = {each.name: each.default for each in command.params}
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}

    assert ports == {"dicom": own["port"], "http": own["http_port"]}
    assert exposed.split() == [str(each) for each in ports.values()]
    published = [each.rpartition(":")[2] for each in compose["services"]["node"]["ports"]]
    assert published == exposed.split()
    assert {each["name"]: each["port"] for each in stateful["Service"]["spec"]["ports"]} == ports


def test_kubernetes_asks_whether_it_lives_and_whether_it_takes_films(container):
    asked = {
        probe: container[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert asked == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }
    over_tls = any(each.startswith("--tls-cert") for each in container["args"])
    schemes = {container[probe]["httpGet"]["scheme"] for probe in asked}
    assert schemes == {"HTTPS" if over_tls else "HTTP"}


def test_the_spool_is_a_claim_that_stays_and_is_one_pods(stateful, container):
    spec = stateful["StatefulSet"]["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    (spool,) = [each for each in container["args"] if each.startswith("--spool=")]

    assert spec["replicas"] == 1
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert spool.removeprefix("--spool=").startswith(mounts[claim["metadata"]["name"]])
    assert set(spec["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}


def test_the_patient_key_lies_where_the_spool_does_and_lasts(deploy, compose, container):
    (home,) = re.findall(r"HOME=(/var/\S+)", (deploy / "docker/Dockerfile").read_text())

    assert home in [each["mountPath"] for each in container["volumeMounts"]]
    assert f"node:{home}" in compose["services"]["node"]["volumes"]
    assert "HOME" not in [each["name"] for each in container.get("env", [])]
    assert "Environment=HOME=%S/cxr-node" in (deploy / "systemd/cxr-node.service").read_text()


def test_what_selects_the_nodes_pods_finds_them(composed, deploy):
    found = composed(deploy / "kubernetes/node")
    (workload,) = [each["spec"] for each in found if each["kind"] == "StatefulSet"]
    labels = workload["template"]["metadata"]["labels"].items()
    names = {each["metadata"]["name"] for each in found if each["kind"] == "Service"}

    assert workload["serviceName"] in names
    for each in found:
        spec = each["spec"]
        selector = spec.get("podSelector", {}).get("matchLabels") or spec["selector"]
        selector = selector.get("matchLabels", selector)
        assert selector.items() <= labels, each["metadata"]["name"]


def test_the_node_is_a_client_of_the_server_and_of_milvus(composed, deploy, stateful, container):
    base = composed(deploy / "kubernetes/overlays/cpu")
    (client,) = [each for each in base if each["metadata"]["name"] == "cxr-client"
                 and each["kind"] == "NetworkPolicy"]  # fmt: skip
    labels = stateful["StatefulSet"]["spec"]["template"]["metadata"]["labels"]

    assert client["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert container["envFrom"] == [{"configMapRef": {"name": "cxr-client"}}]


def test_only_dicom_is_reached_from_outside_the_cluster(composed, deploy):
    outside = [each["spec"] for each in composed(deploy / "kubernetes/node")
               if each["spec"].get("type") == "LoadBalancer"]  # fmt: skip

    assert [port["name"] for each in outside for port in each["ports"]] == ["dicom"]


def test_secrets_are_files_and_in_no_manifest(deploy, container):
    text = (deploy / "kubernetes/node/statefulset.yaml").read_text()
    volumes = yaml.safe_load(text)["spec"]["template"]["spec"]["volumes"]
    made = re.findall(r"# kubectl -n cxr create secret (?:tls|generic) (\S+)", text)

    secrets = [each["secret"]["secretName"] for each in volumes if "secret" in each]
    assert sorted(made) == sorted(secrets)
    assert not any("token=" in each.replace("token-file=", "") for each in container["args"])
