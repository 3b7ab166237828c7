"""What the image is built from, and what is in it."""

from __future__ import annotations

import json
import re
import subprocess

import pytest


@pytest.mark.parametrize("script", ["entrypoint.sh", "install.sh"])
def test_shellcheck_finds_nothing(deploy, program, script):
    result = subprocess.run(
        [program("shellcheck"), str(deploy / "docker" / script)], capture_output=True, text=True
    )

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("dockerfile", ["docker/Dockerfile", "milvus/Dockerfile"])
def test_hadolint_finds_nothing(deploy, program, dockerfile):
    result = subprocess.run(
        [program("hadolint"), str(deploy / dockerfile)], capture_output=True, text=True
    )

    assert result.returncode == 0, result.stdout


def stages(deploy) -> dict[str, str]:
    """Each stage's base; the last stage, the server, has no name of its own."""
    found = re.findall(
        r"^FROM (\S+)(?: AS (\w+))?", (deploy / "docker/Dockerfile").read_text(), re.MULTILINE
    )
    return {name or "server": base for base, name in found}


def test_every_stage_is_built_on_a_pinned_image_and_only_the_server_on_triton(deploy):
    bases = stages(deploy)

    assert list(bases) == ["wheel", "node", "server"]
    assert re.fullmatch(r"nvcr\.io/nvidia/tritonserver:\d\d\.\d\d-py3", bases["server"])
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", bases["node"])
    assert bases["wheel"] == bases["node"]


def test_the_node_is_installed_with_the_extra_that_it_asks_for(deploy):
    from cxrclient.cli.node.options import EXTRA

    stage = re.search(
        r"^FROM \S+ AS node$(.+?)^FROM", (deploy / "docker/Dockerfile").read_text(), re.M | re.S
    )[1]

    assert f'cxr_triton-*.whl)[{EXTRA}]"' in stage
    assert "constraints.txt" in stage


def test_the_image_and_its_tensorrt_are_a_row_of_the_table(deploy, root):
    dockerfile = (deploy / "docker/Dockerfile").read_text()
    image = re.search(r"tritonserver:(\S+)-py3", dockerfile)[1]
    tensorrt = re.search(r"^ARG TENSORRT=(\S+)", dockerfile, re.MULTILINE)[1]
    installed = re.search(r"TENSORRT:-([\d.]+)", (deploy / "docker/install.sh").read_text())[1]
    rows = re.findall(
        r"^\| \**`?([\d.]+)-py3`?\** \| ([\d.]+) \|", (root / "docs/gpu-node.md").read_text(), re.M
    )

    assert (image, tensorrt) in rows
    assert installed == tensorrt
    # From 10.12 on a network's types are in its graph, as `cxrexport engines` writes them.
    assert tuple(map(int, tensorrt.split(".")[:2])) >= (10, 12)


def test_the_container_runs_as_a_user_by_number_and_execs_the_supervisor(deploy):
    dockerfile = (deploy / "docker/Dockerfile").read_text()
    users = re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)
    entrypoint = json.loads(re.findall(r"^ENTRYPOINT (.+)$", dockerfile, re.MULTILINE)[-1])

    assert users == ["1000:1000"] * 2  # the node's, and the server's
    assert entrypoint[-1] == "/opt/cxr/entrypoint.sh"
    script = (deploy / "docker/entrypoint.sh").read_text()
    assert re.search(
        r"^exec python3 -P -m cxrclient.serving.supervise --init .*-- \\\n +tritonserver",
        script,
        re.M,
    )


def test_everything_that_the_image_copies_is_let_through_and_is_there(deploy, root):
    dockerfile = (deploy / "docker/Dockerfile").read_text()
    ignore = (deploy / "docker/Dockerfile.dockerignore").read_text().splitlines()
    let_through = [line[1:] for line in ignore if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (.+)$", dockerfile, re.MULTILINE)
        for source in [word for word in line.split() if not word.startswith("--")][:-1]
    ]

    assert copied
    for source in copied:
        assert (root / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in let_through), source


def test_no_second_triton_is_installed(deploy):
    lines = (deploy / "docker/requirements.txt").read_text().splitlines()
    required = {line.split()[0] for line in lines if line and not line.startswith("#")}

    assert required
    assert not [name for name in required if "triton" in name or name.startswith("tensorrt")]


def test_every_requirement_of_the_image_has_a_tested_version(deploy, root):
    lines = (deploy / "docker/requirements.txt").read_text().splitlines()
    required = {line.split()[0] for line in lines if line and not line.startswith("#")}
    constraints = (root / "constraints.txt").read_text().lower()

    assert [name for name in required if f"{name}==" not in constraints] == []
