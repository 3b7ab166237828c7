"""`cxrclient node run` and `check`: what their options become, and what is refused at once."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from cxrclient.cli.app import app
from cxrclient.cli.node.options import node_options, with_asked
from cxrclient.cli.options.server import Secured, with_secured
from cxrclient.node import NodeOptions, TlsFiles

NEEDED = ("--spool", "spool", "--peer", "PACS@pacs:104")


@pytest.fixture
def parsed(tmp_path, monkeypatch):
    """What the options of a command line become."""
    monkeypatch.chdir(tmp_path)
    for name in ("CXR_SERVER", "CXR_TIMEOUT_S"):
        monkeypatch.delenv(name, raising=False)

    def parse(*words: object) -> NodeOptions:
        found: list[NodeOptions] = []
        program = typer.Typer()

        @program.command()
        @with_secured
        @with_asked
        def _take(*, asked: dict[str, Any], secured: Secured) -> None:
            found.append(node_options(asked, secured))

        done = CliRunner().invoke(program, [*NEEDED, *map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return found[0]

    return parse


def refused(*words: object, command: str = "run") -> Result:
    done = CliRunner().invoke(app, ["node", command, *NEEDED, *map(str, words)])
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    return done


def test_what_is_not_given_is_what_the_node_takes_by_itself(parsed):
    assert parsed() == NodeOptions(Path("spool"), ("PACS@pacs:104",), "localhost:8001")


def test_every_option_arrives(parsed, certificates):
    server = [certificates / name for name in ("ca.pem", "server.pem", "server.key")]
    client = [certificates / name for name in ("ca.pem", "client.pem", "client.key")]
    for name in ("results.token", "embeddings.jsonl"):
        Path(name).write_text("a-token\n")
    options = parsed(
        *("--peer", "https://vna.example/dicom-web", "--server", "triton:8001"),
        *("--aet", "NODE", "--host", "0.0.0.0", "--port", 104, "--http-port", 80),
        *("--allow", "ROOM1", "--allow", "PACS", "--results-token-file", "results.token"),
        *("--tls-ca", server[0], "--tls-cert", server[1], "--tls-key", server[2]),
        *("--peer-tls-ca", client[0], "--peer-tls-cert", client[1], "--peer-tls-key", client[2]),
        *("--archive-uri", "films.db"),
        *("--reference", "embeddings.jsonl", "--workers", 5, "--gsps", "--min-free", 1000),
        *("--queue", 7, "--keep-days", 0.5, "--timeout", 9),
    )
    assert options == NodeOptions(
        spool=Path("spool"),
        peers=("PACS@pacs:104", "https://vna.example/dicom-web"),
        server="triton:8001",
        aet="NODE",
        host="0.0.0.0",
        port=104,
        http_port=80,
        allow=("ROOM1", "PACS"),
        tls=TlsFiles(*server),
        peer_tls=TlsFiles(*client),
        results_token_file=Path("results.token"),
        archive_uri="films.db",
        reference=Path("embeddings.jsonl"),
        workers=5,
        gsps=True,
        min_free_bytes=1_000_000_000,
        queue=7,
        keep_days=0.5,
        timeout_s=9.0,
    )


def test_the_servers_address_may_come_from_the_environment_or_the_file(parsed, monkeypatch):
    Path("config.toml").write_text('server = "filed:8001"\ntimeout_s = 7\n')
    monkeypatch.setenv("CXR_CONFIG", "config.toml")
    assert (parsed().server, parsed().timeout_s) == ("filed:8001", 7.0)
    monkeypatch.setenv("CXR_SERVER", "around:8001")
    assert parsed().server == "around:8001"
    assert parsed("--server", "given:8001").server == "given:8001"


def test_a_bad_file_for_triton_is_found_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_SERVER_TLS_CA", str(tmp_path / "nowhere"))
    assert "nowhere is no file" in refused().stderr


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--aet", "A" * 17], "is no AE title"),
        (["--aet", "MÜNCHEN"], "is no AE title"),
        (["--allow", "A\\B"], "is no AE title"),
        (["--allow", " "], "is no AE title"),
        (["--port", "8042"], "--port and --http-port are the same"),
        (["--host", "0.0.0.0"], "lets other machines in"),
        (["--host", "192.0.2.7"], "--allow AET"),
        (["--host", "::", "--allow", "PACS"], "--results-token-file, or ask"),
        (["--server", "http://triton:8000"], "is a URL"),
        (["--results-token-file", "nowhere"], "nowhere cannot be read"),
        (["--reference", "nowhere"], "nowhere is no file"),
        (["--timeout", "0"], "timeout_s"),
        (["--tls-ca", "nowhere"], "certificate and a key"),
        (["--tls-cert", "nowhere"], "certificate and a key"),
        (["--peer-tls-cert", "nowhere"], "belong together"),
        (["--peer-tls-ca", "nowhere"], "nowhere is no file"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_begins(tmp_path, monkeypatch, command,
                                                               words, said):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = refused(*words, command=command)
    assert done.stderr.startswith("USAGE: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("spool").exists()


def test_a_key_that_is_not_the_certificates_is_refused(certificates):
    pair = ("--tls-cert", certificates / "server.pem", "--tls-key", certificates / "client.key")
    assert "no certificate and its private key" in refused(*pair).stderr


def test_the_servers_tls_and_token_go_to_the_workers(parsed, certificates, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o600)
    words = ("--server", "grpcs://triton:8001", "--server-tls-ca", certificates / "ca.pem")

    options = parsed(*words, "--server-token-file", token)

    assert options.secured == {
        "server_tls_ca": str(certificates / "ca.pem"),
        "server_token_file": str(token),
    }


def test_a_peer_and_a_spool_are_needed():
    done = CliRunner().invoke(app, ["node", "run", "--spool", "spool"])
    assert done.exit_code == 2
    assert "--peer" in done.stderr


def test_without_the_extra_its_name_is_said(monkeypatch):
    """A stand-in for an environment without it."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "aiohttp" else find(name)
    )
    assert "pip install 'cxr-triton[pacs]'" in refused().stderr
    done = CliRunner().invoke(app, ["node", "status", "--spool", "spool"])
    assert (done.exit_code, done.stdout) == (2, "")
