"""compose.yaml: what its schema cannot say, and that its parts name each other rightly."""

from __future__ import annotations

import re
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml


@pytest.fixture
def services(compose) -> dict[str, dict[str, Any]]:
    return compose["services"]


def test_the_compose_specification_finds_nothing(deploy, program):
    check = [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]

    result = subprocess.run([*check, str(deploy / "compose.yaml")], capture_output=True, text=True)

    assert result.returncode == 0, result.stdout


def test_every_image_has_a_pinned_tag(services, version, deploy):
    built = (deploy / "milvus/Dockerfile").read_text()
    milvus = re.search(r"^FROM milvusdb/milvus:v([\d.]+)$", built, re.MULTILINE)[1]
    tags = {}
    for service in services.values():
        image, _, tags[image] = service["image"].rpartition(":")
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", tags[image]), image

    assert (tags["cxr-triton"], tags["cxr-milvus"]) == (version, milvus)
    assert tags["cxr-node"] == version


def test_nobody_is_root(services, deploy):
    assert [name for name, each in services.items() if each["user"].startswith("0")] == []
    milvus = re.findall(r"^USER (\S+)$", (deploy / "milvus/Dockerfile").read_text(), re.MULTILINE)
    assert milvus[-1] == services["milvus"]["user"]


def test_every_service_gives_up_its_capabilities(services):
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_milvus_alone_goes_without_a_seccomp_profile_as_its_own_script_has_it(services):
    """Source: scripts/standalone_embed.sh of milvus-io/milvus."""
    profiles = {
        name: [option for option in service["security_opt"] if option.startswith("seccomp")]
        for name, service in services.items()
    }

    assert {name: each for name, each in profiles.items() if each} == {
        "milvus": ["seccomp:unconfined"]
    }


def test_every_service_says_whether_it_is_well(services):
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name


def test_files_of_the_host_are_mounted_read_only_and_are_there(services, deploy):
    mounted = []
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source, _, target = _filled(volume).partition(":")
            if source.startswith("."):
                assert target.endswith(":ro"), (name, volume)
                assert (deploy / source).exists(), (name, volume)
                mounted.append(source)
    assert len(mounted) >= 6


def test_every_named_volume_is_declared_and_used(compose, services):
    used = {
        _filled(volume).partition(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
    }

    assert {name for name in used if not name.startswith((".", "/"))} == set(compose["volumes"])


def test_no_port_is_open_to_other_machines_unless_asked(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert ports
    for port in ports:
        assert _filled(port).startswith("127.0.0.1:"), port


def test_asking_opens_grpc_and_the_archive_and_nothing_else(services):
    opened = {
        _filled(port).rpartition(":")[2]
        for service in services.values()
        for port in service.get("ports", [])
        if port.startswith("${CXR_BIND")
    }

    assert opened == {"8001", "19530"}


def test_other_machines_have_a_way_over_tls_that_is_closed_by_default(services, deploy):
    (port,) = services["proxy"]["ports"]
    listens = re.findall(r"listen (\d+) ssl", (deploy / "proxy/nginx.conf").read_text())

    assert port == f"${{CXR_TLS_BIND:-127.0.0.1}}:{listens[0]}:{listens[0]}"
    assert services["proxy"]["profiles"] == ["tls"]


def test_the_proxy_leads_to_the_server_by_the_name_that_it_has(services, deploy):
    behind = re.findall(r"set \$\w+ (\w+):(\d+);", (deploy / "proxy/nginx.conf").read_text())

    assert behind == [("server", "8001"), ("server", "8002")]
    assert "server" in services["triton"]["networks"]["default"]["aliases"]


def test_what_is_waited_for_can_come(services):
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy", name
            assert "healthcheck" in services[other], name


def test_the_gpu_is_for_the_gpu_profile_alone(services):
    def devices(service: dict[str, Any]) -> list[dict[str, Any]]:
        return (
            service.get("deploy", {})
            .get("resources", {})
            .get("reservations", {})
            .get("devices", [])
        )

    assert {name: each["profiles"] for name, each in services.items() if "profiles" in each} == {
        "triton": ["gpu"],
        "triton-cpu": ["cpu"],
        "proxy": ["tls"],
        "node": ["node"],
    }
    assert [name for name, each in services.items() if devices(each)] == ["triton"]
    assert devices(services["triton"])[0]["capabilities"] == ["gpu"]
    assert services["triton"]["environment"]["CXR_DEVICE"] == "gpu"
    assert services["triton-cpu"]["environment"]["CXR_DEVICE"] == "cpu"


def test_the_servers_shared_memory_holds_what_it_passes(services):
    from cxrclient.serving.tritonserver import ENOUGH_SHARED_MEMORY

    for name in ("triton", "triton-cpu"):
        size = re.fullmatch(r"(\d+)gb", services[name]["shm_size"])
        assert int(size[1]) * 2**30 >= ENOUGH_SHARED_MEMORY


def test_films_in_flight_may_end_before_the_server_is_killed(services, deploy):
    timeout = re.search(
        r"--exit-timeout-secs=(\d+)", (deploy / "docker/entrypoint.sh").read_text()
    )[1]

    for name in ("triton", "triton-cpu"):
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > int(timeout)


def test_prometheus_asks_each_server_at_its_own_port(services, deploy):
    names = set(services)
    for service in services.values():
        names |= set(service.get("networks", {}).get("default", {}).get("aliases", []))
    exposed = re.findall(r"^EXPOSE (.+)$", (deploy / "docker/Dockerfile").read_text(), re.M)[-1]
    scraped = yaml.safe_load((deploy / "monitoring/prometheus.yaml").read_text())
    targets = {
        job["job_name"]: urlsplit(f"//{job['static_configs'][0]['targets'][0]}")
        for job in scraped["scrape_configs"]
        if "static_configs" in job
    }
    (found,) = [job for job in scraped["scrape_configs"] if "dns_sd_configs" in job]
    (asked,) = found["dns_sd_configs"]

    assert set(targets) == {"triton", "milvus"}
    assert {each.hostname for each in targets.values()} <= names
    assert set(asked["names"]) == {"node"} <= names
    assert services["node"]["ports"][-1].endswith(f":{asked['port']}")
    assert str(targets["triton"].port) == exposed.split()[-1] == "8002"
    assert f":{targets['milvus'].port}/" in services["milvus"]["healthcheck"]["test"][-1]


def test_grafana_finds_prometheus_and_the_dashboard(services, deploy):
    provisioning = deploy / "monitoring/grafana/provisioning"
    source = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())
    provider = yaml.safe_load((provisioning / "dashboards/cxr-triton.yaml").read_text())
    url = urlsplit(source["datasources"][0]["url"])
    volumes = [volume.removesuffix(":ro").split(":") for volume in services["grafana"]["volumes"]]
    mounts = {target: source for source, target in volumes}
    folder = provider["providers"][0]["options"]["path"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert url.hostname in services
    assert f"127.0.0.1:{url.port}:{url.port}" in services[url.hostname]["ports"]
    assert home.startswith(f"{folder}/")
    assert (deploy / mounts[folder] / home.removeprefix(f"{folder}/")).is_file()


def test_nobody_has_a_password_to_leak(services):
    for name, service in services.items():
        for variable in service.get("environment", {}):
            assert not re.search("PASSWORD|TOKEN|SECRET", variable), (name, variable)


def _filled(text: str) -> str:
    """Fill in variables as compose does where none is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
