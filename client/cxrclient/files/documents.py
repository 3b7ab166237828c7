"""JSON and YAML that somebody else wrote: read within bounds, and every fault is a ValueError.

Python's readers call themselves for each level: `[[[[…` ends them with RecursionError, which is no
ValueError, and what is read just within the limit ends the next one who walks through it. YAML's
aliases name a value again, so few lines can stand for more values than there is memory (a "billion
laughs").
"""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 100
"""Levels of lists and objects in each other; nothing of ours has ten."""
MOST_VALUES = 100_000
"""In one YAML file, each alias counted with all that it stands for."""


def parse_json(text: str | bytes) -> Any:
    """As `json.loads`.

    Raises:
        ValueError: it is no JSON, or nested deeper than `DEEPEST`.
    """
    too_deep = f"nested deeper than {DEEPEST} levels"
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(too_deep) from None
    brackets = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, brackets)) > DEEPEST and _depth(value) > DEEPEST:  # type: ignore[arg-type]
        raise ValueError(too_deep)
    return value


def parse_yaml(text: str) -> Any:
    """As `yaml.safe_load`.

    Raises:
        ValueError: it is no YAML, nested deeper than `DEEPEST`, or more than `MOST_VALUES`.
    """
    import yaml

    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        if _size(root, {}) > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values, its aliases counted")
        value = loader.construct_document(root)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if _depth(value) > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    return value


def _depth(value: Any) -> int:
    """Levels of lists and objects; at most one more than `DEEPEST` is looked for."""
    depth, level = 0, [value]
    while level and depth <= DEEPEST:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += [one for one in each.values() if isinstance(one, dict | list)]
            elif isinstance(each, list):
                inner += [one for one in each if isinstance(one, dict | list)]
        depth += any(isinstance(each, dict | list) for each in level)
        level = inner
    return depth


def _size(node: Any, known: dict[int, int]) -> int:
    """Values of a YAML node, those of a node that is named again counted again."""
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # while it is looked into: a node that holds itself
        inner = node.value if isinstance(node.value, list) else []
        parts = [part for each in inner for part in (each if isinstance(each, tuple) else (each,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]
