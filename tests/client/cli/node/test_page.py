"""docs/pacs-node.md says of options, defaults, codes and addresses what is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from cxrclient.cli.app import app
from cxrclient.node.web.application import application

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/pacs-node.md").read_text(encoding="utf-8")
OF_EVERY_COMMAND = {"--verbose", "--quiet", "--help"}


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", ["run", "check"])
def test_the_table_has_every_option_with_its_default(name):
    command = typer.main.get_command(app).commands["node"].commands[name]  # type: ignore[attr-defined]
    params = {each.opts[0]: each for each in command.params}
    rows = re.findall(r"^\| (`--.+?) \| (.*?) \|", section("Options"), re.MULTILINE)
    told = {option: default for options, default in rows
            for option in re.findall(r"--[a-z-]+", options)}  # fmt: skip

    assert set(told) == set(params) - OF_EVERY_COMMAND - {"--format"}
    wrong = []
    for cell in {cell for _, cell in rows}:
        options = [option for option, default in told.items() if default == cell]
        defaults = [params[each].default for each in options]
        numbers = re.findall(r"^[\d.]+|(?<=, )[\d.]+$", cell.strip("`"))
        if numbers and not cell.startswith("`127"):
            given = [params[each].default or 120 for each in options]  # of --timeout: settings'
            if [float(each) for each in numbers] != [float(each) for each in given]:
                wrong.append((options, cell, defaults))
    assert wrong == []
    assert told["--aet"] == f"`{params['--aet'].default}`"
    assert told["--host"] == f"`{params['--host'].default}`"


def test_every_code_of_the_page_exists():
    done = CliRunner().invoke(app, ["codes", "--format", "json"])
    known = {each["code"] for each in json.loads(done.stdout)}
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", PAGE))
    named = {each for each in named if not each.startswith(("CXR_", "NODE_OPTIONS", "SSL_"))}

    assert len(named) > 15
    assert named <= known


def test_every_address_of_the_page_is_answered_and_none_is_left_out():
    told = set(re.findall(r"`(?:GET|POST) (/\S+?)`", PAGE))
    routes = {
        str(route.resource.canonical)
        for route in application(_Nobody()).router.routes()
        if route.resource is not None
    }

    assert told == {route for route in routes if "{" not in route}


class _Nobody:
    """In the place of what the pages are made of: none of them is asked."""

    def __getattr__(self, name: str) -> object:
        async def answer(*_values: object) -> None:
            raise AssertionError(name)

        return answer
