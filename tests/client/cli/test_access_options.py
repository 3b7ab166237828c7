"""Every command that reaches an archive, or a server, takes the same options to reach it."""

from __future__ import annotations

from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from cxrclient.archive import Tls
from cxrclient.cli.app import app
from cxrclient.cli.options.archive import Access, with_access
from cxrclient.cli.options.server import Secured

OPTIONS = {"token", "tls_ca", "tls_cert", "tls_key", "tls_name"}


def commands(group: Any, above: str = ""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):  # Typer's group need not be click's
            yield from commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_with_an_archive_takes_all_of_them_and_no_other_does(name):
    parameters = {each.name for each in COMMANDS[name].params}
    has_archive = bool({"uri", "index"} & parameters)  # predict's is --index
    listens = "peer_tls_ca" in parameters  # its --tls-… are of what it listens with
    of_archive = (OPTIONS & parameters) - (OPTIONS if listens else set())
    assert of_archive == (OPTIONS if has_archive else set())
    assert "access" not in parameters


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "serve"])
def test_a_command_with_a_server_takes_its_certificates_and_token_and_no_other_does(name):
    parameters = {each.name for each in COMMANDS[name].params}
    secured = set(Secured.__annotations__)
    assert secured & parameters == (secured if "server" in parameters else set())
    assert "secured" not in parameters


def test_options_and_environment_reach_the_command(tmp_path):
    told = []
    one = typer.Typer()

    @one.command()
    @with_access
    def look(uri: str, *, access: Access, k: int = 4) -> None:
        told.append((uri, access, k))

    arguments = ["a.db", "--tls-cert", str(tmp_path / "c.pem"), "--k", "2", "--token", "x:y"]
    done = CliRunner().invoke(one, arguments, env={"CXR_MILVUS_TLS_NAME": "milvus.site"})
    assert done.exit_code == 0, done.output
    tls = Tls(certificate=tmp_path / "c.pem", server_name="milvus.site")
    assert told == [("a.db", {"token": "x:y", "tls": tls}, 2)]
