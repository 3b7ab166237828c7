"""The documentation names only what is there: files, make targets, commands, options, variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cxrclient.cli.app import app as cxrclient
from cxrclient.settings import CONFIG_VARIABLE, ArchiveSettings, ClientSettings, ServerSettings
from cxrexport.cli.app import app as cxrexport

ROOT = Path(__file__).parents[1]
FOLDERS = (".", "docs", "docs/adr", "benchmarks", "model_repository")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
# The changelog tells of commands as they were.
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
PROGRAMS = {
    "cxrclient": typer.main.get_command(cxrclient),
    "cxrexport": typer.main.get_command(cxrexport),
}
OPERATIONS = ROOT / "docs" / "operations.md"
OF_SETTINGS = {CONFIG_VARIABLE} | {
    f"CXR_{name.upper()}"
    for settings in (ArchiveSettings, ClientSettings, ServerSettings)
    for name in settings.model_fields
}
FILES = [
    str(file.relative_to(ROOT))
    for folder in (".ci", "client", "export", "deploy", "benchmarks", "tests", "model_repository")
    for file in (ROOT / folder).rglob("*")
    if file.suffix in (".py", ".sh")
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
each_current_page = pytest.mark.parametrize(
    "page", CURRENT, ids=lambda page: str(page.relative_to(ROOT))
)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command of ours that a page shows, in a block or within a line."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^    (.+)$", text, re.MULTILINE)
    spans = re.findall(r"`([^`]+)`", re.sub(r"^    .+$", "", text, flags=re.MULTILINE))
    for shown in [*blocks, *spans]:
        for part in re.split(r"&&|;", shown.partition(" #")[0]):
            words = re.findall(r"""\"[^"]*\"|'[^']*'|\S+""", part)
            if words and words[0] in (*PROGRAMS, "make"):
                yield words


def unknown(words: list[str]) -> list[str]:
    """The subcommands and options of a command line that its program does not have."""
    command: Any = PROGRAMS[words[0]]
    rest, missing = words[1:], []
    # By its attribute: typer may bring a click of its own.
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        # `a|b` names several: each has to be there, and options belong to the first.
        names = rest[0].split("|")
        missing += [name for name in names if name not in command.commands]
        if missing:
            return missing
        command, rest = command.commands[names[0]], rest[1:]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    options = [
        word.partition("=")[0].rstrip(".,)")
        for words in rest
        for word in words.split("|")
        if re.match(r"--?[a-z]", word)
    ]
    return [option for option in options if option not in {*known, "--help"}]


def makefile_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


@each_page
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)

    assert not broken


@each_current_page
def test_every_command_and_option_that_a_page_shows_exists(page):
    targets = makefile_targets()
    wrong = []
    for words in commands(page):
        if words[0] == "make":
            wrong += [w for w in words[1:] if re.fullmatch(r"[a-z-]+", w) and w not in targets]
        elif unknown(words):
            wrong.append(f"{' '.join(words)}: no {', '.join(unknown(words))}")

    assert not wrong


@each_current_page
def test_every_script_or_module_that_a_page_names_exists(page):
    named = re.findall(r"`([\w./-]+\.(?:py|sh))`", page.read_text(encoding="utf-8"))

    assert [
        name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in FILES)
    ] == []


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        ("cxrclient archive stats --uri cxr.db", []),
        ("cxrclient archive stat --uri cxr.db", ["stat"]),
        ("cxrclient archive export|inport", ["inport"]),
        ("cxrclient predict FILMS --url cxr.db", ["--url"]),
    ],
)
def test_the_check_of_commands_sees_what_does_not_exist(shown, missing):
    assert unknown(shown.split()) == missing


def test_operations_names_every_variable_of_the_settings():
    named = set(re.findall(r"CXR_[A-Z_]+", OPERATIONS.read_text(encoding="utf-8")))

    assert named >= OF_SETTINGS


def test_every_variable_in_operations_is_read_somewhere():
    sources = "".join(
        file.read_text(encoding="utf-8")
        for folder in ("client/cxrclient", "deploy")
        for file in (ROOT / folder).rglob("*")
        if file.suffix in (".py", ".sh", ".yaml")
    )
    named = re.findall(r"CXR_[A-Z_]+", OPERATIONS.read_text(encoding="utf-8"))

    assert [name for name in named if name not in OF_SETTINGS and name not in sources] == []


def test_the_index_names_every_decision():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    decisions = [page.name for page in PAGES if page.parent.name == "adr"]

    assert decisions
    assert [name for name in decisions if f"(adr/{name})" not in index] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
