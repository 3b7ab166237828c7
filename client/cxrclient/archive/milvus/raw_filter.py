"""A filter that somebody wrote in Milvus's language, made safe to stand beside other conditions.

It is read word by word and written anew: text in our own quoting, columns of the metadata where
they lie, and all of it in parentheses that it cannot close. It must be whole by our own grammar
(`grammar.py`): Milvus Lite obeys the beginning of `age == 1 age > 1` and forgets all that
follows, the other conditions too. So a filter narrows the answer, and can never let in a film that
another condition keeps out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from typing import NamedTuple, TypeAlias

from cxrclient.archive.milvus.filters import column, literal, text
from cxrclient.archive.milvus.grammar import FUNCTIONS, KEYWORDS, Question, check_filter
from cxrclient.archive.milvus.layout import FIELDS, Layout
from cxrclient.errors import ArchiveInput

_WORD = re.compile(
    r"\s*(?:"
    r"(?P<text>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>==|!=|<=|>=|<|>|\+|-|\*|/|%|,|&&|\|\||!(?!=)|[()\[\]])"
    r")"
)
Word: TypeAlias = tuple[str, str]
"""Its kind (`text`, `number`, `name`, `sign`), and how it is written."""

_KNOWN = frozenset({"id", "metadata", *FIELDS})
_CLOSES = {")": "(", "]": "["}
_EQUAL = frozenset({"==", "!=", "in", "not in"})
_TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_COMPUTED = re.compile(r"[\w\])] [-+*/%] |[-+] (?![\d.])")
_LIMITS = re.compile(r"(?:^|(?<=[=<>] ))([-+]? ?[\d.]+(?:[eE][-+]?\d+)?)(?= |$)")


def parenthesised(raw: str, layout: Layout) -> str:
    """`raw` as one condition in parentheses.

    Args:
        raw: such as `treatment == "oxygen" and (age > 60 or days <= 3)`. Names are fields, and
            else columns of the metadata; `metadata["a column"]` names one that is no word.
        layout: of the collection.

    Raises:
        ArchiveInput: it has no words, an open quote, a parenthesis too many or too few,
            something that is not of the language, two values with nothing between them.
    """
    text("the filter", raw, 8192)
    read = list(_words(raw))
    if not read:
        raise ArchiveInput("The filter is empty.")
    _check_balance(read, raw)
    read = _columns_first(_plain_names(read, layout))
    written = [_written(kind, word) for kind, word in read]
    for question in check_filter(read):
        _of_fields(read, written, question, layout)
    return f"({_joined([word for word in written if word])})"


def _plain_names(words: list[Word], layout: Layout) -> list[Word]:
    """`metadata["age"]` as `age`, where that is a field."""
    plain = list(words)
    for n in reversed(range(len(words) - 3)):
        path, (kind, word), closing = words[n : n + 2], words[n + 2], words[n + 3]
        is_path = path == [("name", "metadata"), ("sign", "[")] and closing == ("sign", "]")
        is_path = is_path and words[n + 4 : n + 5] != [("sign", "[")]
        if is_path and kind == "text" and _unquoted(word) in layout.columns:
            plain[n : n + 4] = [("name", _unquoted(word))]
    return plain


def _columns_first(words: list[Word]) -> list[Word]:
    """`1 == age` as `age == 1`: where the value stands first, Milvus Lite takes == for != (2.5.1).

    `1 < age < 3` becomes two questions, for Lite asks it of fields only.
    """
    turned = list(words)
    for start, end, _, _ in reversed(check_filter(words)):
        signs = [n for n in range(start, end) if words[n][0] == "sign" and words[n][1] in _TURNED]
        if not signs or any(map(_is_column, words[start : signs[0]])):
            continue
        first, last = signs[0], (*signs[1:], end)[0]
        target = words[first + 1 : last]
        also = [("name", "and"), *target, *words[last:end]] if last < end else []
        sign = ("sign", _TURNED[words[first][1]])
        turned[start:end] = [*target, sign, *words[start:first], *also]
    return turned


def _of_fields(words: list[Word], written: list[str], question: Question, layout: Layout) -> None:
    """Let a question be asked of fields, where they can answer it, and of those that are known.

    What is unknown answers as a key that is missing from the JSON field: no to all questions but
    those with a `not` in them.
    """
    start, end, sign, _ = question
    places = [n for n in range(start, end) if _is_column(words[n])]
    fields = sorted({words[n][1] for n in places})
    if not all(_is_field(words, n, layout) for n in places):
        return
    of_numbers = {layout.is_number(name) for name in fields}
    constants = {_constant(word) for word in words[start:end]} - {None}
    if len(of_numbers) > 1 or constants - {"number" if of_numbers == {True} else "text"}:
        return
    if of_numbers == {True}:
        if ("sign", "%") in words[start:end]:
            raise ArchiveInput(f"The filter has a % of {fields[0]}, which is not always whole.")
        for n in range(start, end):
            if words[n][0] == "number":  # Milvus Lite finds no whole number among doubles
                written[n] = repr(min(float(words[n][1]), sys.float_info.max))  # knows no inf
    for n in places:
        written[n] = words[n][1]
    negated = sign in ("!=", "not in", "not like")
    known = [layout.is_known(name, negated=negated) for name in fields]
    if sign == "exists":
        either = f"({known[0]} or exists {column(fields[0])})"
        written[start:end] = [either, *[""] * (end - start - 1)]
        return
    joint = " or " if negated else " and "
    written[start] = f"(({written[start]}"
    written[end - 1] += f"){joint}{joint.join(known)})"


def _is_column(word: Word) -> bool:
    return word[0] == "name" and word[1].lower() not in KEYWORDS | FUNCTIONS


def _is_field(words: list[Word], n: int, layout: Layout) -> bool:
    """Whether a word is a field that may be unknown, and neither a function's nor a path's."""
    after = words[n + 1][1] if n + 1 < len(words) else ""
    before = [word.lower() for _, word in words[max(n - 2, 0) : n]]
    is_called = len(before) == 2 and before[0] in FUNCTIONS and before[1] == "("
    is_own = words[n][1] in (*layout.columns, "probability")
    return is_own and after != "[" and not is_called


def _constant(word: Word) -> str | None:
    """`text`, `number` or `truth`, where a word is one of these."""
    kind, written = word
    if kind == "name" and written.lower() in ("true", "false"):
        return "truth"
    return kind if kind in ("text", "number") else None


def _written(kind: str, word: str) -> str:
    if kind == "text":
        return literal(_unquoted(word))
    return _name(word, _KNOWN) if kind == "name" else word


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


class Condition(NamedTuple):
    """One thing that a filter asks of one column.

    Attributes:
        column: its name.
        condition: a filter that asks this alone, turned round where a `not` around it does so.
        texts: that it names.
    """

    column: str
    condition: str
    texts: tuple[str, ...] = ()

    @property
    def numbers(self) -> list[float]:
        """Those that the column is compared with; none where something is computed."""
        if _COMPUTED.search(self.condition):
            return []
        return [float(number.replace(" ", "")) for number in _LIMITS.findall(self.condition)]

    def __str__(self) -> str:
        """As it was written, with the column's own name."""
        said = re.sub(r"metadata \[ .(.+?). \]", r"\1", self.condition)
        said = re.sub(r"(?<=[=<>] )([-+]) (?=[\d.])|(?<=\() | (?=\))", r"\1", said)
        return said if said.startswith(self.column) else f"{self.column} for which {said}"


def texts_asked(raw: str) -> list[tuple[str, str]]:
    """Each column that is to equal a text, or not to, with that text."""
    return [
        (name, text_)
        for name, question, words in _asked(raw)
        if question.sign in _EQUAL
        for text_ in _texts(words)
    ]


def comparisons(raw: str) -> list[Condition]:
    """What else a filter asks of one column, numbers of a list one by one."""
    found = []
    for name, question, words in _asked(raw):
        if question.sign in _EQUAL and _texts(words):
            continue
        condition = " ".join(word for _, word in words)
        target, is_list, values = condition.partition(" in [ ")
        if question.negated or question.sign == "not in":
            conditions = [f"not ( {condition} )" if question.negated else condition]
        elif is_list:
            numbers = values.removesuffix("]").strip().split(" , ")
            conditions = [f"{target} == {each}" for each in numbers if each]
        else:
            conditions = [condition]
        found += [Condition(name, each, tuple(_texts(words))) for each in conditions]
    return found


def _asked(raw: str) -> Iterator[tuple[str, Question, list[Word]]]:
    """Each question of one column, whatever stands around it: the column, and its words."""
    read = list(_words(raw))
    for question in check_filter(read):
        words = read[question.start : question.end]
        named = columns(" ".join(word for _, word in words), ())
        if len(named) == 1 and question.sign != "exists":
            yield named[0], question, words


def _texts(words: list[Word]) -> list[str]:
    """The texts among a question's words, but those of `metadata["a column"]`."""
    found = []
    for n, (kind, word) in enumerate(words):
        in_path = n > 1 and words[n - 1][1] == "[" and words[n - 2][1] in ("metadata", "]")
        if kind == "text" and not in_path:
            found.append(_unquoted(word))
    return found


def _joined(words: list[str]) -> str:
    """Words with blanks between them, but none in `metadata["a column"]`: Milvus wants it whole."""
    joined, before = "", ""
    for word in words:
        path = word == "[" and (before == "metadata" or before.endswith("]"))
        bound = before in ("", "[") or word == "]" or path
        joined += word if bound else f" {word}"
        before = word
    return joined


def _words(raw: str) -> Iterator[Word]:
    place = 0
    end = len(raw.rstrip())
    while place < end:
        found = _WORD.match(raw, place)
        if found is None:
            raise ArchiveInput(
                f"The filter cannot be read from {raw[place:].strip()[:20]!r} on. Put text in "
                "quotes, and write == for equal."
            )
        yield str(found.lastgroup), found[str(found.lastgroup)]
        place = found.end()


def _name(word: str, known: Collection[str]) -> str:
    if word.lower() in KEYWORDS | FUNCTIONS:
        return word.lower()
    return word if word in known else column(word)


def _unquoted(word: str) -> str:
    """What a text says: a backslash makes a quote or a backslash plain, and nothing else."""
    inner = word[1:-1]
    if bad := re.search(r"\\[^\"'\\]", re.sub(r"\\[\"'\\]", "", inner)):
        raise ArchiveInput(f"The filter has {bad[0]!r} in a text; only quotes and \\ take a \\.")
    return re.sub(r"\\(.)", r"\1", inner)


def _check_balance(words: list[Word], raw: str) -> None:
    open_: list[str] = []
    for kind, sign in words:
        if kind != "sign":
            continue
        if sign in ("(", "["):
            open_.append(sign)
        elif sign in _CLOSES and (not open_ or open_.pop() != _CLOSES[sign]):
            raise ArchiveInput(f"The filter {raw!r} has a {sign} and no opening one before it.")
    if open_:
        raise ArchiveInput(f"The filter {raw!r} has a {open_[-1]} that is not closed.")
