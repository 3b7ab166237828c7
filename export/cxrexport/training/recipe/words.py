"""What a key of a recipe may be, and what is wrong with one, in words; read off the JSON schema."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

_KINDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "object": "a mapping",
}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


class Keys:
    """The keys of a model: where each is, and what it may be.

    Args:
        model: whose JSON schema is read.
    """

    def __init__(self, model: type[BaseModel]) -> None:
        self._root = model.model_json_schema()

    def allowed(self, key: Sequence[int | str]) -> str | None:
        """What a key may be, in words; None where the schema has no such key.

        Args:
            key: from the top, as pydantic locates it: `("classify", "epochs")`.
        """
        node: Any = self._root
        for part in key:
            node = self._inside(self._plain(node), part)
            if node is None:
                return None
        return self.in_words(node)

    def within(self, key: Sequence[int | str]) -> Mapping[str, Any]:
        """Key → schema of the keys inside this one; empty where it has none of its own."""
        node: Any = self._root
        for part in key:
            node = self._inside(self._plain(node), part) or {}
        found: dict[str, Any] = self._plain(node).get("properties", {})
        return found

    def in_words(self, schema: Mapping[str, Any]) -> str:
        """What a schema allows: `a whole number, at least 1`."""
        schema = self._plain(schema)
        if "const" in schema or "enum" in schema:
            values = schema.get("enum", [schema.get("const")])
            names = [f"`{str(v).lower() if isinstance(v, bool) else v}`" for v in values]
            return _either(names)
        if "prefixItems" in schema:
            first = self.in_words(schema["prefixItems"][0]).removeprefix("a ")
            return f"a list of {len(schema['prefixItems'])} {first}s"
        if "items" in schema:
            return f"a list of {self.in_words(schema['items']).removeprefix('a ')}s"
        if isinstance(inner := schema.get("additionalProperties"), dict):
            return f"a mapping; each value {self.in_words(inner)}"
        if "properties" in schema:
            return f"a mapping of {', '.join(schema['properties'])}"
        kind = _KINDS.get(schema.get("type", ""), "any value")
        bounds = [f"{words} {schema[name]:g}" for name, words in _BOUNDS.items() if name in schema]
        return f"{kind}, {' and '.join(bounds)}" if bounds else kind

    def everywhere(self) -> Iterator[tuple[str, ...]]:
        """Every key, from the top."""
        for name in self.within(()):
            yield (name,)
            yield from ((name, inner) for inner in self.within((name,)))

    def _plain(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """A schema without `or null`, and what it refers to in place of the reference."""
        for choice in schema.get("anyOf", ()):
            if choice.get("type") != "null":
                return self._plain(choice)
        if "$ref" in schema:
            return self._plain(self._root["$defs"][schema["$ref"].rpartition("/")[2]])
        return schema

    @staticmethod
    def _inside(schema: Mapping[str, Any], part: int | str) -> Any:
        if isinstance(part, int):
            listed = schema.get("prefixItems", [])
            return listed[part] if part < len(listed) else schema.get("items")
        inner = schema.get("additionalProperties")
        return schema.get("properties", {}).get(part, inner if isinstance(inner, dict) else None)


def faults_in_words(
    error: ValidationError, model: type[BaseModel], place: Sequence[str] = ()
) -> str:
    """Name each wrong key and say what would be right.

    Args:
        error: of validating the model.
        model: gives what is allowed.
        place: the key that the model was the value of; at the top by default.
    """
    keys = Keys(model)
    return "; ".join(_fault(dict(fault), keys, place) for fault in error.errors())


def as_sentence(text: str) -> str:
    """End with a full stop what does not end with a question."""
    return text if text.endswith(("?", ".")) else f"{text}."


def no_such_key(
    key: Sequence[int | str], known: Collection[str], elsewhere: Collection[str] = ()
) -> str:
    """Say that a key is not there, and which was meant or which there are.

    Args:
        key: from the top.
        known: the keys that there are beside it.
        elsewhere: keys of this very name at other places, from the top.
    """
    close = get_close_matches(str(key[-1]), known, n=2)
    near = list(elsewhere) or [_dotted((*key[:-1], name)) for name in close]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
    return f"{_dotted(key)}: there is no such key; {hint}"


def _fault(fault: dict[str, Any], keys: Keys, place: Sequence[str]) -> str:
    located = fault["loc"]
    key = (*place, *located)
    if fault["type"] == "extra_forbidden":
        same = [_dotted(each) for each in keys.everywhere() if each[-1] == located[-1]]
        return no_such_key(key, keys.within(located[:-1]), same)
    if fault["type"] in ("value_error", "assertion_error"):
        said = str(fault["msg"]).removeprefix("Value error, ")
        return f"{_dotted(key)}: {said}" if key else said
    allowed = keys.allowed(located)
    if located and fault["type"] == "missing":
        return f"{_dotted(key)}: is missing; give {allowed}"
    if located and allowed is not None:
        said = json.dumps(fault["input"], default=str, ensure_ascii=False)
        number = isinstance(fault["input"], int | float)
        quoted = ", in quotation marks" if number and allowed == _KINDS["string"] else ""
        return f"{_dotted(key)}: {said} is not right; give {allowed}{quoted}"
    return f"{_dotted(key) or 'recipe'}: {fault['msg']}"


def _dotted(key: Sequence[int | str]) -> str:
    return ".".join(map(str, key))


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
