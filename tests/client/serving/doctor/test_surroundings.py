"""The doctor judges what a server stands in: memory, disk, configuration, key, archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrclient import SimilarityIndex
from cxrclient.archive import bind_key, load_patient_key
from cxrclient.serving import read_record, resources
from stand_in_plans import examine

GIB = 2**30


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Says what memory and disk this machine has."""

    def have(*, memory: int = 8 * GIB, limit: str = "max", disk: int = 100 * GIB) -> None:
        (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:    {memory // 1024} kB\n")
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{GIB // 2}\n")
        monkeypatch.setattr(resources, "MEMINFO", tmp_path / "meminfo")
        monkeypatch.setattr(resources, "CGROUP", tmp_path)
        usage = type("Usage", (), {"free": disk, "total": disk})
        monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: usage)

    return have


@pytest.fixture(autouse=True)
def key_file(monkeypatch, tmp_path) -> Path:
    monkeypatch.delenv("CXR_PATIENT_KEY", raising=False)
    monkeypatch.setenv("CXR_PATIENT_KEY_FILE", str(tmp_path / "patient.key"))
    return tmp_path / "patient.key"


def test_enough_of_everything(repository, machine):
    machine()
    code, checks = examine(repository)
    assert code == 0
    subjects = ("memory", "shared memory", "disk")
    assert [checks[each][0]["verdict"] for each in subjects] == ["ok"] * 3
    assert (
        "8.0 GiB free; a server of this repository takes up to 1.1 GiB"
        in (checks["memory"][0]["finding"])
    )


@pytest.mark.parametrize("scarce", [{"memory": GIB // 2}, {"limit": str(GIB)}])
def test_too_little_memory_of_machine_or_container(repository, machine, scarce):
    machine(**scarce)
    code, checks = examine(repository)
    assert code == 1
    assert checks["memory"][0]["verdict"] == "wrong"
    assert "0.5 GiB free" in checks["memory"][0]["finding"]


def test_a_full_disk(repository, machine):
    machine(disk=GIB // 4)
    code, checks = examine(repository)
    assert code == 1
    assert {each["verdict"] for each in checks["disk"]} == {"wrong"}
    assert "results and logs need 1.0: make room there" in checks["disk"][0]["finding"]
    assert "--shm-size=1g" in checks["shared memory"][0]["finding"]


def test_the_key_is_judged_and_never_made(repository, key_file):
    _, checks = examine(repository)
    assert checks["patient key"][0]["verdict"] == "note"
    assert not key_file.exists()
    load_patient_key()
    _, checks = examine(repository)
    assert checks["patient key"][0]["verdict"] == "ok"
    key_file.chmod(0o644)
    code, checks = examine(repository)
    assert (code, checks["patient key"][0]["verdict"]) == (1, "wrong")
    assert f"chmod 600 {key_file}" in checks["patient key"][0]["finding"]


def test_the_configuration_is_named_with_what_it_sets(repository, tmp_path, monkeypatch):
    path = tmp_path / "config.toml"
    path.write_text("jobs = 2\n")
    monkeypatch.setenv("CXR_CONFIG", str(path))
    _, checks = examine(repository)
    assert checks["configuration"][0]["finding"] == f"{path} sets jobs"


def test_an_archive(repository, tmp_path):
    uri = str(tmp_path / "a.db")
    _, checks = examine(repository, "--uri", uri)
    assert checks["archive"][0]["verdict"] == "wrong"
    digest = read_record(repository).digest
    with SimilarityIndex(uri, model_digest=digest) as index:
        bind_key(index, load_patient_key())
        index.add(["1.2"], np.ones((1, 128), np.float32), [{}])
    code, checks = examine(repository, "--uri", uri)
    assert code == 0
    assert f"1 films of the model {digest[:12]}" in checks["archive"][0]["finding"]
    assert checks["archive's key"][0]["finding"] == "the patient key is its own"
    assert any(str(tmp_path) in each["finding"] for each in checks["disk"])


def test_an_archive_of_another_model_or_key(repository, tmp_path, monkeypatch):
    uri = str(tmp_path / "a.db")
    with SimilarityIndex(uri, model_digest="0" * 64) as index:
        bind_key(index, b"another key of this test")
    load_patient_key()
    code, checks = examine(repository, "--uri", uri)
    assert code == 1
    assert checks["archive"][0]["mend"] == f"cxrclient archive migrate FILMS --uri {uri}"
    assert checks["archive's key"][0]["verdict"] == "wrong"


def test_a_repository_that_is_not_there_is_answered_with_those_that_are():
    code, checks = examine(Path("nonsense"))
    assert code == 1
    assert "come with cxr-triton are called starter, tb" in checks["repository"][0]["finding"]
