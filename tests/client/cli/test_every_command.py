"""What every command takes, and what both programs answer without a film: version, codes, talk."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

import cxrclient
from cxrclient.archive.checks import ArchiveFault
from cxrclient.cli.app import app
from cxrclient.cli.operations.codes import _TOLD, codes_of
from cxrclient.cli.output.failures import Failures
from cxrclient.cli.terminal import say, talking
from cxrclient.errors import CxrClientError, FilmError
from cxrclient.fates import FATES
from cxrclient.node import NOTES
from cxrclient.pixels.header_flags import header_flags
from cxrexport.admission import CODES
from cxrexport.cli.app import app as exporter
from cxrexport.errors import CxrExportError

PROGRAMS = {"cxrclient": app, "cxrexport": exporter}
both = pytest.mark.parametrize("program", PROGRAMS)


def invoke(program: str, *words: str):
    return CliRunner().invoke(PROGRAMS[program], words, env={"COLUMNS": "200"})


def commands(group):
    for command in group.commands.values():
        yield from commands(command) if hasattr(command, "commands") else (command,)


@both
def test_every_command_has_h_v_and_q_and_o_where_it_has_output(program):
    found = list(commands(typer.main.get_command(PROGRAMS[program])))
    assert len(found) > 10
    for command in found:
        flags = {option for parameter in command.params for option in parameter.opts}
        assert flags >= {"-v", "--verbose", "-q", "--quiet"}, command.name
        assert ("-o" in flags) == ("--output" in flags), command.name
    assert invoke(program, "codes", "-h").exit_code == 0


@both
def test_the_version(program):
    done = invoke(program, "--version")
    assert done.exit_code == 0
    assert done.stdout == f"cxr-triton {version('cxr-triton')}\n"


@both
def test_the_shell_completes(program):
    environment = {
        f"_{program.upper()}_COMPLETE": "complete_bash",
        "COMP_WORDS": f"{program} cod",
        "COMP_CWORD": "1",
    }
    command = Path(sys.executable).with_name(program)
    told = subprocess.run(
        [command], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert told.stdout.split() == ["codes"]


def test_quiet_leaves_errors_alone_and_verbose_shows_the_log(capsys):
    log = logging.getLogger("cxrclient.a_room")
    with talking(quiet=True):
        say("Only said.")
        say("data", err=False)
        say("CODE: an error.", fg="red")
        log.warning("a warning")
    heard = capsys.readouterr()
    assert (heard.out, heard.err) == ("data\n", "CODE: an error.\n")
    for verbose, lines in ((0, []), (1, ["did"]), (2, ["did", "every detail"])):
        with talking(verbose=verbose):
            log.info("did")
            log.debug("every detail")
        assert capsys.readouterr().err.splitlines() == [f"cxrclient.a_room: {x}" for x in lines]
    say("Said.")
    assert capsys.readouterr().err == "Said.\n"


def test_verbose_and_quiet_are_not_both(capsys):
    done = invoke("cxrclient", "codes", "-v", "-q")
    assert (done.exit_code, done.stdout) == (2, "")


def shown(*words: str) -> dict[str, dict[str, object]]:
    done = invoke("cxrclient", "codes", *words, "--format", "json")
    assert done.exit_code == 0, done.output
    return {each["code"]: each for each in json.loads(done.stdout)}


def raised_by_literal(package: Path) -> set[str]:
    """Codes that a call of FilmError, or of a function that makes one, is given as text."""
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name):
                first = node.args[0]
                if node.func.id == "FilmError" and isinstance(first, ast.Constant):
                    found.add(first.value)
    return found


def test_every_code_is_listed_with_what_it_means_and_what_to_do():
    codes = shown()
    room = Path(cxrclient.__file__).parent
    raised = raised_by_literal(room)
    assert {"TIMEOUT", "STEP_DIED", "BAD_ANSWER"} <= raised
    assert raised | {"INTERNAL"} <= set(FATES) | set(NOTES)
    assert set(FATES) | set(NOTES) <= set(codes)
    assert all(codes[code]["mend"] for code in NOTES)
    classes = {kind.code for kind in subclasses(CxrClientError)} - {"FILM"}
    assert classes <= set(codes)
    assert all(each.mend for each in (*codes_of(CxrClientError), *codes_of(CxrExportError)))
    for each in CODES:
        assert codes[each.code]["meaning"] == each.sentence
        assert (
            codes[each.code]["of"]
            == {"reject": "gate, rejects", "warn": "gate, warns"}[each.action]
        )
    named = re.findall(r"\b[A-Z]+_[A-Z]+\b", ArchiveFault.__doc__ or "")
    assert set(named) == {code for code, each in codes.items() if each["of"] == "archive verify"}
    told = set(re.findall(r"^    ([A-Z_]+)  ", header_flags.__doc__ or "", re.MULTILINE))
    assert len(told) == 10
    assert told <= set(codes)
    assert set(_TOLD) <= set(codes)


def subclasses(kind):
    yield kind
    for below in kind.__subclasses__():
        if below.__module__.startswith("cxrclient"):
            yield from subclasses(below)


def test_every_class_of_errors_that_has_a_code_of_its_own_says_what_to_do():
    for root in (CxrClientError, CxrExportError):
        for kind in subclasses(root):
            if "code" in vars(kind) and kind.code != "FILM":
                assert "mend" in vars(kind), kind


def test_exit_codes_and_one_code_alone():
    assert shown("timeout")["TIMEOUT"]["exit_codes"] == [3]
    assert shown("ARCHIVE_UNAVAILABLE")["ARCHIVE_UNAVAILABLE"]["exit_codes"] == [1, 5]
    table = invoke("cxrclient", "codes").stdout
    assert "Exit codes: 0 everything succeeded;" in table
    assert "`--timeout`" in table
    done = invoke("cxrclient", "codes", "TIMEOT")
    assert done.exit_code == 2
    assert "The nearest is TIMEOUT." in done.stderr
    assert "RECIPE" in invoke("cxrexport", "codes").stdout


def film_error(path: str, message: str = "Out of reach.") -> FilmError:
    return FilmError("FILE_UNREADABLE", message, status="failed", path=path)


def test_forty_equal_errors_are_five_and_a_count(capsys):
    failures = Failures()
    for number in range(40):
        failures.say(film_error(f"{number}.dcm", f"{number}.dcm cannot be read."))
    failures.say(film_error("other.dcm", "Another reason."))
    failures.say_the_rest()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 7
    assert lines[4] == "4.dcm: FILE_UNREADABLE: 4.dcm cannot be read."
    assert lines[5] == "other.dcm: FILE_UNREADABLE: Another reason."
    assert lines[6].startswith("and 35 more (--verbose names them): FILE_UNREADABLE: it cannot")


def test_verbose_names_each(capsys):
    failures = Failures()
    with talking(verbose=1):
        for number in range(40):
            failures.say(film_error(f"{number}.dcm"))
        failures.say_the_rest()
    assert len(capsys.readouterr().err.splitlines()) == 40
