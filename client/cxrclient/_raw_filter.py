"""A filter that somebody wrote in Milvus's language, made safe to stand beside other conditions.

It is read word by word and written anew: text in our own quoting, columns of the metadata where
they lie, and all of it in parentheses that it cannot close. Values and what joins them must take
turns: Milvus Lite obeys the beginning of `age == 1 age > 1` and forgets all that follows, the other
conditions too. So a filter narrows the answer, and can never let in a film that another condition
keeps out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from cxrclient._milvus_filter import literal, text
from cxrclient.errors import ArchiveInput

__all__ = ["columns", "parenthesised"]

_WORD = re.compile(
    r"\s*(?:"
    r"(?P<text>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>==|!=|<=|>=|<|>|\+|-|\*|/|%|,|&&|\|\||!(?!=)|[()\[\]])"
    r")"
)
_KEYWORDS = frozenset({"and", "or", "not", "in", "like", "true", "false", "exists"})
_FUNCTIONS = re.compile(r"(json|array)_(contains(_all|_any)?|length)")
_BEFORE = frozenset({"not", "!", "+", "-", "exists"})
_BETWEEN = frozenset({"and", "or", "in", "like", "&&", "||", "+", "-", "*", "/", "%", ","})
_COMPARE = frozenset({"==", "!=", "<", "<=", ">", ">="})
_CLOSES = {")": "(", "]": "["}


def parenthesised(raw: str, fields: Collection[str]) -> str:
    """`raw` as one condition in parentheses.

    Args:
        raw: such as `treatment == "oxygen" and (age > 60 or days <= 3)`. Names are fields, and
            else columns of the metadata; `metadata["a column"]` names one that is no word.
        fields: of the collection.

    Raises:
        ArchiveInput: it has no words, an open quote, a parenthesis too many or too few,
            something that is not of the language, two values with nothing between them.
    """
    text("the filter", raw, 8192)
    known = {"id", "metadata", *fields}
    words: list[str] = []
    open_: list[str] = []
    read = list(_words(raw))
    _check_of_films(read)
    _check_turns(read)
    for kind, word in read:
        if kind == "text":
            words.append(literal(_unquoted(word)))
        elif kind == "name":
            words.append(_name(word, known))
        else:
            _balance(word, open_, raw)
            words.append(word)
    if open_:
        raise ArchiveInput(f"The filter {raw!r} has a {open_[-1]} that nothing closes.")
    if not words:
        raise ArchiveInput("The filter is empty.")
    return f"({_joined(words)})"


def columns(raw: str, fields: Collection[str]) -> list[str]:
    """The columns of the metadata that a filter names, each once."""
    known = {"id", "metadata", *fields}
    read = list(_words(raw))
    found: dict[str, None] = {}
    for n, (kind, word) in enumerate(read):
        if kind == "name" and _name(word, known).startswith("metadata["):
            found[word] = None
        elif kind == "text" and [w for _, w in read[max(n - 2, 0) : n]] == ["metadata", "["]:
            found[_unquoted(word)] = None
    return list(found)


def _joined(words: list[str]) -> str:
    """Words with blanks between them, but none in `metadata["a column"]`: Milvus wants it whole."""
    joined, before = "", ""
    for word in words:
        bound = before in ("", "[") or word == "]" or (word == "[" and before in ("metadata", "]"))
        joined += word if bound else f" {word}"
        before = word
    return joined


def _words(raw: str) -> Iterator[tuple[str, str]]:
    place = 0
    end = len(raw.rstrip())
    while place < end:
        found = _WORD.match(raw, place)
        if found is None:
            raise ArchiveInput(
                f"The filter cannot be read from {raw[place:].strip()[:20]!r} on. Text stands in "
                "quotes, and equal is ==."
            )
        yield str(found.lastgroup), found[str(found.lastgroup)]
        place = found.end()


def _check_of_films(words: list[tuple[str, str]]) -> None:
    """Refuse what Milvus Lite reports with its insides, or ends by: `1 == 1`, `label like 3`."""
    constant = [kind in ("text", "number") or w.lower() in ("true", "false") for kind, w in words]
    for n, (kind, word) in enumerate(words):
        if kind == "sign" and word in _COMPARE and all(constant[max(n - 1, 0) : n + 2 : 2]):
            beside = " ".join(w for _, w in words[max(n - 1, 0) : n + 2])
            raise ArchiveInput(
                f"The filter has {beside!r}, which asks nothing of a film. Compare a column with a "
                'value: age > 60 or treatment == "oxygen".'
            )
        if (
            word.lower() == "like"
            and kind == "name"
            and [k for k, _ in words[n + 1 : n + 2]] != ["text"]
        ):
            raise ArchiveInput('The filter has a like without a text behind it: label like "cov%".')


def _check_turns(words: list[tuple[str, str]]) -> None:
    """Refuse two values with nothing between them, and a sign with no value beside it."""
    read = [written.lower() if kind == "name" else written for kind, written in words]
    is_value = [
        kind in ("text", "number")
        or (kind == "name" and (word not in _KEYWORDS or word in ("true", "false")))
        for (kind, _), word in zip(words, read, strict=True)
    ]
    value_before, depth = False, 0
    for n, word in enumerate(read):
        before = read[n - 1] if n else ""
        if value_before:
            fits = _may_follow_a_value(word, before, read[n + 1 : n + 2])
            fits = fits and (word != "," or depth > 0)
            value_before = word in _CLOSES
        else:
            empty_list = before == "[" and word == "]"
            fits = is_value[n] or empty_list or word in _BEFORE or word in _CLOSES.values()
            fits = fits or (before == "not" and word in ("in", "like"))
            value_before = is_value[n] or empty_list
        if not fits:
            near = " ".join(written for _, written in words[max(n - 1, 0) : n + 1])
            raise ArchiveInput(
                f"The filter cannot be read at {near!r}. Join conditions with and or or, and put a "
                'value on both sides of a sign: age > 60 and treatment == "oxygen".'
            )
        depth += (word in _CLOSES.values()) - (word in _CLOSES)
    if words and not value_before:
        raise ArchiveInput(f"The filter ends with {words[-1][1]!r}, and nothing follows it.")


def _may_follow_a_value(word: str, before: str, after: list[str]) -> bool:
    if word == "[":  # metadata["a"]["b"]
        return before == "]" or (before.isidentifier() and before not in _KEYWORDS)
    if word == "(":
        return _FUNCTIONS.fullmatch(before) is not None
    if word == "not":
        return after in (["in"], ["like"])
    return word in _BETWEEN or word in _COMPARE or word in _CLOSES


def _name(word: str, known: Collection[str]) -> str:
    if word.lower() in _KEYWORDS:
        return word.lower()
    if word in known or _FUNCTIONS.fullmatch(word.lower()):
        return word
    return f"metadata[{literal(word)}]"


def _unquoted(word: str) -> str:
    """What a text says: a backslash makes a quote or a backslash plain, and nothing else."""
    inner = word[1:-1]
    if bad := re.search(r"\\[^\"'\\]", re.sub(r"\\[\"'\\]", "", inner)):
        raise ArchiveInput(f"The filter has {bad[0]!r} in a text; only quotes and \\ take a \\.")
    return re.sub(r"\\(.)", r"\1", inner)


def _balance(sign: str, open_: list[str], raw: str) -> None:
    if sign in ("(", "["):
        open_.append(sign)
    elif sign in _CLOSES and (not open_ or open_.pop() != _CLOSES[sign]):
        raise ArchiveInput(f"The filter {raw!r} has a {sign} that nothing opened.")
