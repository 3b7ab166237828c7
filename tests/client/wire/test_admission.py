"""What turns a film away is the server's word: how the client reads it and what it does then."""

from __future__ import annotations

import json

import pytest

from cxrclient.errors import FilmError
from cxrclient.wire.admission import Admission, AdmissionCode

CODES = [
    {"code": "UPSIDE_DOWN", "action": "reject", "sentence": "Turn it and send it again."},
    {"code": "SMUDGED", "action": "warn", "sentence": "Look at it."},
    {"code": "TORN", "action": "reject", "sentence": "Send another one."},
]
TEXT = json.dumps({"codes": CODES, "not_judged": ["FOREIGN"], "of a later version": 1})


def test_the_servers_words_are_kept_in_their_order():
    admission = Admission.from_parameter(TEXT)
    assert admission == Admission(
        (
            AdmissionCode("UPSIDE_DOWN", True, "Turn it and send it again."),
            AdmissionCode("SMUDGED", False, "Look at it."),
            AdmissionCode("TORN", True, "Send another one."),
        ),
        ("FOREIGN",),
    )


def test_of_two_reasons_the_one_that_the_server_names_first_is_told():
    with pytest.raises(FilmError) as raised:
        Admission.from_parameter(TEXT).refuse(("TORN", "UPSIDE_DOWN"))
    error = raised.value
    assert (error.code, error.status, error.retriable) == ("UPSIDE_DOWN", "rejected", False)
    assert error.message == "Turn it and send it again."


@pytest.mark.parametrize("flags", [(), ("SMUDGED",), ("LOSSY_COMPRESSED", "TORN_ONCE")])
def test_warnings_and_mere_facts_turn_nothing_away(flags):
    Admission.from_parameter(TEXT).refuse(flags)


def test_facts_are_no_warnings():
    found = Admission.from_parameter(TEXT).warnings(("PADDED", "TORN", "SMUDGED"))
    assert found == ("SMUDGED", "TORN")


def test_a_server_of_before_there_was_a_gate_turns_nothing_away():
    admission = Admission.from_parameter(None)
    admission.refuse(("TORN",))
    assert admission.warnings(("TORN",)) == ()


def test_a_code_is_explained_in_the_servers_words_and_else_by_itself():
    admission = Admission.from_parameter(TEXT)
    assert [admission.sentence(code) for code in ("SMUDGED", "PADDED")] == ["Look at it.", "PADDED"]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"codes": [1]}', '{"codes": [{"code": "A", "action": "bite", "sentence": ""}]}'],
)
def test_what_cannot_be_read_is_an_error(text):
    with pytest.raises(ValueError, match="admission cannot be read"):
        Admission.from_parameter(text)
