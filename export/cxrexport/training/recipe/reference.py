"""docs/recipes.md: every key of a recipe, written from the model that checks them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from cxrclient.wire import Finding
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.training.recipe.files import shipped_recipes
from cxrexport.training.recipe.model import Recipe
from cxrexport.training.recipe.words import Keys

_BEGINNING = """# Recipes

A recipe is a YAML file that says all that a training run depends on but the films. Its digest is
kept with every checkpoint.

    cxrexport recipe list                        # those that ship
    cxrexport recipe show starter > mine.yaml    # one of them, whole, to begin your own with
    cxrexport train all --recipe starter --set classify.epochs=2 --set width=0.5 …

- `--set KEY=VALUE` changes one key, and can be repeated. The key is written from the top with dots,
  the value as in YAML (`--set 'augmentation.gamma_range=[0.8, 1.2]'`). It is checked, and part of
  the digest, as if it stood in the file.
- `extends: NAME`, or the path of another YAML file, takes over all that a file does not say itself.
  Mappings are joined key by key; all else is replaced.
- A key that may be left out and is set to `null` is as good as left out.

This page is written by `cxrexport recipe reference` from the model that checks recipes.
"""
_HEADS = ("key", "what it may be", "without it", "what it says")
_SECTIONS = {
    "segment": "`segment`, `classify` and each value of `overrides`",
    "augmentation": "`augmentation` and `segment_augmentation`",
}


def reference_page() -> str:
    """Write the page, as Markdown."""
    keys = Keys(Recipe)
    parts = [
        _BEGINNING,
        "## Recipes that ship\n",
        _table(
            ("recipe", "what it is"), ((f"`{n}`", what) for n, what in shipped_recipes().items())
        ),
        "## Keys of a recipe\n",
        _table(_HEADS, _rows(keys, ())),
    ]
    for name, title in _SECTIONS.items():
        parts += [f"## Keys of {title}\n", _table(_HEADS, _rows(keys, (name,)))]
    parts += ["## Keys of `preprocessing`\n", _table(_HEADS, _rows_of(PreprocessingSpec))]
    parts += ["## Keys of `finding`\n", _table(_HEADS, _rows_of(Finding))]
    return "\n".join(parts)


def _rows(keys: Keys, place: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    for name, schema in keys.within(place).items():
        nested = name in ("preprocessing", "finding", "overrides") or keys.within((*place, name))
        allowed = "keys of its own, below" if nested else keys.in_words(schema)
        yield f"`{name}`", allowed, _default(schema, bool(nested)), schema["description"]


def _default(schema: Mapping[str, Any], nested: bool) -> str:
    if "default" not in schema:
        return "must be there"
    default = schema["default"]
    return "" if default is None or nested else f"`{json.dumps(default)}`"


def _rows_of(described: type) -> Iterable[tuple[str, ...]]:
    """The fields of a dataclass, described in its docstring."""
    text = (described.__doc__ or "").partition("Attributes:")[2].partition("Raises:")[0]
    said = dict(re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE))
    kinds = {"int": "a whole number", "float": "a number", "str": "a text"}
    for field in fields(described):
        default = getattr(described, field.name, None)
        there = isinstance(default, int | float)
        without = f"`{json.dumps(default)}`" if there else "must be there"
        yield f"`{field.name}`", kinds[str(field.type)], without, said[field.name]


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    cells = ([" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
