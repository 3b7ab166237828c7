"""A terminal obeys nothing that stands in a name, a notice or a cell."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from cxrclient import CxrClient
from cxrclient.cli.output.results import result_writer
from cxrclient.cli.terminal import console, say, shown

COMMAND = str(Path(sys.executable).with_name("cxrclient"))
TITLE = "\x1b]0;owned\x07"
EVIL = [f"a{TITLE}.dcm", "b\x1b[31m.dcm", "c\u202emcd.dcm", "d\nok: all good.dcm", "e[red]x.dcm"]


@given(text=st.text())
def test_nothing_that_is_shown_controls_a_terminal(text):
    assert all(character.isprintable() or character in "\u200c\u200d" or character.isspace()
               for character in shown(text))  # fmt: skip
    assert not set(shown(text)) & set("\x1b\x07\n\r\t\x9b\u202e\u2066\u2028")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("film.dcm", "film.dcm"),
        ("größe ½ 胸部 \u00a0", "größe ½ 胸部 \u00a0"),
        (TITLE, r"\x1b]0;owned\x07"),
        ("a\u202eb", r"a\u202eb"),
        ("\udcff", r"\udcff"),
        ("a\nb", r"a\nb"),
    ],
)
def test_what_is_not_shown_is_named(text, says):
    assert shown(text) == says


def test_a_line_end_of_ours_is_one_and_nobody_begins_a_line():
    assert shown("two problems:\nCLIENT: no", lines=True) == "two problems:\n  CLIENT: no"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_dicom):
    folder = tmp_path_factory.mktemp("evil")
    for name in EVIL:
        write_dicom(folder / name)
    (folder / f"empty{TITLE}.dcm").touch()
    return folder


@pytest.fixture(scope="module")
def predict(triton_server, folder):
    def run(*arguments):
        command = [COMMAND, "predict", *arguments, "--server", triton_server.grpc_address]
        return subprocess.run(command, cwd=folder, capture_output=True, check=False)

    return run


def test_the_table_shows_names_safely_and_takes_none_for_markup(predict):
    out = predict(".").stdout.decode()
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "\u202e" not in out
    words = "".join(out.split())
    for name in (r"a\x1b]0;owned\x07.dcm", r"c\u202emcd.dcm", r"d\nok:allgood.dcm", "e[red]x.dcm"):
        assert name in words


def test_sentences_show_names_safely(predict):
    err = predict(f"no{TITLE}*", "*.dcm", "--format", "jsonl").stderr.decode()
    assert r"Nothing matches no\x1b]0;owned\x07*." in err
    assert "\x07" not in err


def test_data_stays_exact(predict):
    lines = predict(".", "--format", "jsonl").stdout.splitlines()
    assert {json.loads(line)["path"] for line in lines} == {*EVIL, f"empty{TITLE}.dcm"}


def test_the_servers_notice_and_labels_are_shown_safely(triton_server, folder):
    with CxrClient(triton_server.grpc_address) as cxr:
        model = dataclasses.replace(
            cxr.model, notice=f"[red]{TITLE}\nForged: ok", labels=("no", f"yes{TITLE}[bold]")
        )
        result = cxr.predict(str(folder / EVIL[0]))
    stream = io.StringIO()
    table = result_writer("table", stream, model)
    table.add(result, {})
    table.close()
    assert "\x1b" not in stream.getvalue()
    assert r"[red]\x1b]0;owned\x07\nForged: ok" in stream.getvalue()
    assert "[bold]" in stream.getvalue()


def test_a_console_takes_strings_as_they_are():
    stream = io.StringIO()
    console(file=stream, width=80).print(f"[red]{TITLE}[/red] :warning: x")
    assert stream.getvalue() == "[red]\\x1b]0;owned\\x07[/red] :warning: x\n"


def test_lines_of_the_log_are_safe():
    code = (
        "import logging; from cxrclient.cli.terminal import terminal_program\n"
        "terminal_program(lambda: logging.getLogger('x').warning('%s', '\\x1b]0;a\\x07'), 'C')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"\\x1b]0;a\\x07\n"


class _Full(io.StringIO):
    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_talk_that_nobody_can_hear_ends_no_run_and_lost_data_do(monkeypatch):
    monkeypatch.setattr(sys, "stderr", _Full())
    say("a sentence")
    monkeypatch.setattr(sys, "stdout", _Full())
    with pytest.raises(OSError, match="No space"):
        say("a result", err=False)


def test_both_programs_talk_through_the_one_seam(pytestconfig):
    """Data and paths that a program reads may be printed elsewhere; nothing for people."""
    others = re.compile(r"\bConsole\((?!quiet=True\))|typer\.secho\(|\becho\([^)]*err=True")
    root = pytestconfig.rootpath
    files = [*(root / "client").rglob("*.py"), *(root / "export").rglob("*.py")]
    found = {path.name for path in files if others.search(path.read_text(encoding="utf-8"))}
    assert found == {"terminal.py"}
