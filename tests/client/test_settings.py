"""An option comes before its variable, that before the file, that before the default."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrclient import UsageError
from cxrclient.archive import load_patient_key
from cxrclient.cli.app import app
from cxrclient.settings import (
    ArchiveSettings,
    ClientSettings,
    ServerSettings,
    client_settings,
    config_file,
)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Writes the configuration file."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("CXR_CONFIG", str(path))

    def write(text: str) -> Path:
        path.write_text(text)
        return path

    return write


def test_option_then_variable_then_file_then_default(config, monkeypatch):
    config('server = "file:1"\njobs = 3\ntimeout_s = 5\n')
    monkeypatch.setenv("CXR_SERVER", "variable:1")
    monkeypatch.setenv("CXR_JOBS", "4")
    settings = client_settings("option:1")
    assert settings.server == "option:1"
    assert settings.jobs == 4
    assert settings.timeout_s == 5
    assert settings.retry_for_s == 120
    assert settings.model_fields_set == {"server", "jobs", "timeout_s"}


def test_the_usual_place_is_the_users_configuration_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("CXR_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_file() is None
    (tmp_path / "cxr-triton").mkdir()
    usual = tmp_path / "cxr-triton" / "config.toml"
    usual.write_text("jobs = 2\n")
    assert config_file() == usual
    assert ClientSettings().jobs == 2
    monkeypatch.setenv("CXR_CONFIG", "")
    assert ClientSettings().jobs == 8


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("timeout = 3", "has an unknown key: timeout. The nearest is timeout_s."),
        ("patient_key = 's'", "unknown key: patient_key. The nearest is patient_key_file."),
        ("[server]\naddress = 'x'", "server .option, CXR_SERVER in the environment, or the key in"),
        ("jobs = 0", "jobs .option, CXR_JOBS in the environment, or the key in .+config.toml"),
        ("jobs = ", "config.toml cannot be read as TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_said(config, text, says):
    path = config(text)
    with pytest.raises(UsageError, match=says) as raised:
        ClientSettings()
    assert str(path) in raised.value.message


def test_a_named_file_must_be_there(monkeypatch, tmp_path):
    monkeypatch.setenv("CXR_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="which is no file"):
        ServerSettings()


@pytest.mark.parametrize(
    "command",
    [["predict", "film.dcm"], ["archive", "stats", "--uri", "a.db"], ["doctor"], ["serve"]],
)
def test_every_command_says_it_in_one_line_before_anything_else(config, command):
    config("adress = 1")
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert done.stderr.startswith("USAGE: ")
    assert "unknown key: adress" in " ".join(done.stderr.split())


def test_the_archives_keys_are_read_too(config, tmp_path, monkeypatch):
    key = tmp_path / "site.key"
    config(f"patient_key_file = '{key}'\nmilvus_tls_ca = '/ca.pem'\n")
    monkeypatch.delenv("CXR_PATIENT_KEY", raising=False)
    made = load_patient_key()
    assert key.read_text().strip().encode() == made
    assert ArchiveSettings().milvus_tls_ca == Path("/ca.pem")
    monkeypatch.setenv("CXR_PATIENT_KEY_FILE", str(tmp_path / "other.key"))
    assert load_patient_key() != made
