"""The tree of errors, as its page draws it."""

from __future__ import annotations

import re

from cxrclient import errors
from cxrclient.errors import CxrClientError

_BRANCH = re.compile(
    r"(?P<lines>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: +(?P<code>[A-Z_]{2,})\b)?(?P<rest>.*)"
)


def drawn() -> dict[str, tuple[str | None, str | None, str]]:
    """Name → its parent, its code and the words behind it."""
    found: dict[str, tuple[str | None, str | None, str]] = {}
    ancestors: list[str] = []
    tree = (errors.__doc__ or "").split("\n\n")[1]
    for line in tree.splitlines():
        branch = _BRANCH.fullmatch(line)
        assert branch, line
        del ancestors[len(branch["lines"]) // 4 :]
        parent = ancestors[-1] if ancestors else None
        found[branch["name"]] = (parent, branch["code"], branch["rest"])
        ancestors.append(branch["name"])
    return found


def test_the_tree_in_words_is_the_tree_of_classes() -> None:
    tree = drawn()
    assert sorted(tree) == sorted(errors.__all__)
    for name, (parent, code, words) in tree.items():
        kind = getattr(errors, name)
        assert parent == (None if kind is CxrClientError else kind.__base__.__name__), name
        if code is not None or "(same code)" in words:
            assert kind.code == (code or kind.__base__.code), name
        assert kind.retriable is ("(retriable)" in words), name


def test_an_archive_on_a_server_that_does_not_answer_is_tried_again_and_has_its_exit_code() -> None:
    error = errors.ArchiveUnreachable("no answer")
    assert isinstance(error, errors.ArchiveUnavailable)
    assert (error.code, error.retriable, error.exit_code) == ("ARCHIVE_UNAVAILABLE", True, 5)
