"""JSON and YAML of others: whatever stands in them, the fault is a ValueError, and soon."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from cxrclient.errors import ServerUnfit, UsageError
from cxrclient.files.documents import DEEPEST, parse_json, parse_yaml
from cxrclient.runs.journal import Conditions, JournaledResults

DEEP = [pytest.param("[" * n + "]" * n, id=f"{n} lists") for n in (DEEPEST + 1, 900, 100_000)]
DEEP += [pytest.param('{"a":' * n + "1" + "}" * n, id=f"{n} objects") for n in (101, 900, 100_000)]
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize("text", [*DEEP, pytest.param("[" * 100_000, id="open")])
@pytest.mark.parametrize("parse", [parse_json, parse_yaml, lambda text: parse_json(text.encode())])
def test_what_is_nested_too_deeply_is_refused(parse, text):
    with pytest.raises(ValueError, match=f"deeper than {DEEPEST}|Expecting|expected"):
        parse(text)


@pytest.mark.parametrize("text", [LAUGHS, "a: &a [*a]", "&a {b: *a}"])
def test_aliases_that_stand_for_more_than_there_is_room_for_are_refused(text):
    with pytest.raises(ValueError, match="more than 100000 values"):
        parse_yaml(text)


def test_aliases_within_bounds_are_read():
    assert parse_yaml("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}") == {
        "a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2},
    }  # fmt: skip


@pytest.mark.parametrize("text", ["a: [", "!!python/object:os.system {}", "a: b: c", "\0"])
def test_what_is_no_yaml_is_a_value_error_in_one_line(text):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_yaml(text)


def test_depth_is_not_told_from_brackets_in_text():
    assert parse_json(json.dumps(["[{" * 200])) == ["[{" * 200]
    assert parse_json(json.dumps([[1]] * 500)) == [[1]] * 500
    assert parse_json("[" * DEEPEST + "]" * DEEPEST)


@given(value=st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v)))
def test_what_json_writes_is_read(value):
    assert parse_json(json.dumps(value)) == value


LINE = {
    "path": "x.dcm",
    "status": "ok",
    "journal": {"size": 1, "modified_ns": 1, "model": "a" * 64, "gate": True},
}


def without(key, status="ok"):
    line = json.loads(json.dumps(LINE)) | {"status": status}
    line["journal"].pop(key, None)
    return json.dumps(line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (without("gate"), "lacks gate,"),
        (without("size"), "lacks size,"),
        (without("", "rejected"), "lacks code,"),
        (json.dumps(LINE | {"path": 3}), "lacks a path,"),
        (without("model"), "was not written by"),
        (json.dumps(LINE | {"more": 1})[:-1] + ', "x": ' + "[" * 100_000, "was not written by"),
        ('{"path": ' + "[" * 900 + "]" * 900 + "}", "was not written by"),
        ("[]", "was not written by"),
    ],
)
def test_a_line_that_does_not_say_what_resuming_needs_is_named_and_kept(tmp_path, line, says):
    results = tmp_path / "results.jsonl"
    before = json.dumps(LINE) + "\n" + line + "\n"
    results.write_text(before)
    with pytest.raises(UsageError, match=rf"results\.jsonl:2 {says}"):
        JournaledResults(results, Conditions("a" * 64, gate=True), resume=True)
    assert results.read_text() == before
    assert list(tmp_path.iterdir()) == [results]


def test_a_server_whose_labels_are_nested_too_deeply_is_unfit():
    from cxrclient.wire.connection import Connection

    class Text:
        string_value = "[" * 100_000

    with pytest.raises(ServerUnfit):
        Connection("localhost:8001")._read_parameters({"labels": Text, "members": Text})
