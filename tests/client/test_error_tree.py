"""The tree that the docstring of `cxrclient.errors` draws is the real one."""

from __future__ import annotations

import re

from cxrclient import errors

_LINE = re.compile(r"(?P<branch>[│ ]*(?:[├└]── )?)(?P<name>[A-Z]\w+)(?P<more>.*)")


def drawn() -> dict[str, tuple[str | None, str]]:
    """Name → the name above it, and the rest of its line."""
    tree: dict[str, tuple[str | None, str]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines()[2:]:
        found = _LINE.fullmatch(line)
        if found:
            depth = len(found["branch"]) // 4
            del above[depth:]
            tree[found["name"]] = (above[-1] if above else None, found["more"].strip())
            above.append(found["name"])
    return tree


def test_every_error_is_drawn_below_its_parent():
    tree = drawn()
    assert sorted(tree) == sorted(errors.__all__)
    for name, (parent, _) in tree.items():
        base = getattr(errors, name).__base__
        assert (base.__name__ if parent else base) == (parent or Exception), name


def test_the_drawn_codes_are_theirs():
    for name, (parent, more) in drawn().items():
        own, code = getattr(errors, name), more.split(" ")[0]
        if more.startswith("(same code)"):
            assert own.code == getattr(errors, str(parent)).code
        elif code.isupper():
            assert own.code == code
