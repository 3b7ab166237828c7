"""Errors speak of arguments to who calls Python, and of options to who types a command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cxrclient
from cxrclient import CxrClient, FilmError, ServerUnreachable
from cxrclient.cli import exits
from cxrclient.cli.app import app

ROOMS = Path(cxrclient.__file__).parent
# They start programs, or are what a command alone calls.
NO_LIBRARY = {"cli", "node", "serving", "journal.py"}
PROGRAMS = ("cxrclient ", "cxrexport ")


def texts(path: Path) -> Iterator[str]:
    """Every text of a module but docstrings; what an f-string puts in is `{}`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped.update(map(id, node.values))
            yield "".join(str(getattr(part, "value", "{}")) for part in node.values)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in skipped
        ):
            yield node.value


def test_no_text_of_the_library_names_an_option_but_in_a_command():
    wrong = [
        f"{path.name}: {text}"
        for path in sorted(ROOMS.rglob("*.py"))
        if NO_LIBRARY.isdisjoint(path.relative_to(ROOMS).parts)
        for text in texts(path)
        for found in re.finditer(r"(?<![\w-])--[a-z]", text)
        if not any(program in text[: found.start()] for program in PROGRAMS)
    ]
    assert wrong == []


def test_no_server_is_told_in_the_words_of_the_caller():
    with pytest.raises(ServerUnreachable, match="name another with `address`: HOST:PORT"):
        CxrClient("localhost:1")
    result = CliRunner().invoke(app, ["predict", "film.dcm", "--server", "localhost:1"])
    assert result.exit_code == 5
    assert "name another with `--server`: HOST:PORT" in " ".join(result.stderr.split())


@pytest.mark.parametrize("argument", exits._OPTIONS)
def test_every_argument_that_is_an_option_is_told_as_one(argument):
    error = FilmError("TIMEOUT", f"Allow more with {argument}.", status="failed")
    option = exits.with_options(error).message.removeprefix("Allow more with ").rstrip(".")
    known = set()
    for command in ("predict", "index"):
        help_text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).stdout
        known |= set(re.findall(r"--[a-z-]+", help_text))
    assert option.strip("`") in known


def test_what_is_no_error_stays_as_it_is():
    assert exits.with_options("`jobs`") == "`jobs`"


def test_the_doctor_names_options_too(monkeypatch):
    from cxrclient import serving
    from cxrclient.serving.doctor import Check

    found = [Check("server", "wrong", "Name the authority with `tls.ca`.")]
    monkeypatch.setattr(serving, "examine", lambda *_, **__: found)
    for form in ("table", "json"):
        result = CliRunner().invoke(app, ["doctor", "--format", form], env={"COLUMNS": "200"})
        assert result.exit_code == 1
        assert "`--server-tls-ca`" in result.stdout
