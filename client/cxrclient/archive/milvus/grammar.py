"""The grammar of a filter in Milvus's language: what stands where, and what kind of thing it is.

Milvus Lite does not only refuse what makes no sense: much of it ends its process. A function's name
without its parentheses, or with other arguments than it takes, is a null pointer to it, a `in`
behind anything but a column and a `like` before anything but a text too, and `1 / 0` is a division
by zero (found by fuzzing 2.5.1). So nothing
reaches Milvus that this grammar does not know. It is Milvus's own (Plan.g4), without arithmetic
between constants, conditions that ask nothing of a film, and nesting that ends a parser's stack.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from cxrclient.errors import ArchiveInput

KEYWORDS = frozenset({"and", "or", "not", "in", "like", "true", "false", "exists"})
CONTAINS = frozenset(f"{kind}_contains{which}" for kind in ("json", "array")
                     for which in ("", "_all", "_any"))  # fmt: skip
LENGTH = "array_length"
FUNCTIONS = CONTAINS | {LENGTH}

NESTED_MAX = 32
"""Parentheses, brackets and signs within each other; Milvus's parser calls itself for each."""
_RISING, _FALLING = frozenset({"<", "<="}), frozenset({">", ">="})
_COMPARE = _RISING | _FALLING | {"==", "!="}


class _Kind(enum.Enum):
    CONDITION = enum.auto()
    COLUMN = enum.auto()
    COMPUTED = enum.auto()
    """From a column: arithmetic, a length."""
    NUMBER = enum.auto()
    CONSTANT = enum.auto()
    """Text, true or false."""
    LIST = enum.auto()


_OF_FILMS = frozenset({_Kind.COLUMN, _Kind.COMPUTED})
_FIXED = frozenset({_Kind.NUMBER, _Kind.CONSTANT, _Kind.LIST})


class Question(NamedTuple):
    """What a filter asks of a film's columns: one comparison, `in`, `like` or `exists`.

    Attributes:
        start: its first word.
        end: behind its last one.
        sign: how it asks: `<`, `==`, `in`, `not in`, `exists` and so on.
        negated: whether the `not` around it turn it round.
    """

    start: int
    end: int
    sign: str
    negated: bool


def check_filter(words: Sequence[tuple[str, str]]) -> list[Question]:
    """Read a filter; raise where words are none.

    Args:
        words: kind (`text`, `number`, `name`, `sign`) and how it is written; brackets are balanced.

    Returns:
        All that it asks, from left to right.

    Raises:
        ArchiveInput: says at which word, or what the filter lacks.
    """
    reader = _Reader(words)
    reader.read()
    return reader.questions


class _Reader:
    """Goes through the words once, from left to right; each method reads what it is named after."""

    def __init__(self, words: Sequence[tuple[str, str]]) -> None:
        self._words = words
        self._at = 0
        self._depth = 0
        self._negated = False
        self.questions: list[Question] = []

    def read(self) -> None:
        if self._words:
            self._wanted(self._either(), _Kind.CONDITION)
            if self._at < len(self._words):
                self._refuse()

    @property
    def _here(self) -> str:
        """The word that comes now, in lower case where it is no text; "" at the end."""
        if self._at == len(self._words) or self._words[self._at][0] == "text":
            return ""
        return self._words[self._at][1].lower()

    @property
    def _kind(self) -> str:
        return self._words[self._at][0] if self._at < len(self._words) else ""

    def _take(self, word: str) -> bool:
        """Go past `word` if it comes now."""
        found = bool(word) and self._here == word
        self._at += found
        return found

    def _refuse(self) -> NoReturn:
        if self._at >= len(self._words):
            raise ArchiveInput(
                f"The filter ends with {self._words[-1][1]!r}, and nothing follows it."
            )
        near = " ".join(word for _, word in self._words[max(self._at - 1, 0) : self._at + 1])
        raise ArchiveInput(
            f"The filter cannot be read at {near!r}. Join conditions with `and` or `or`, and put "
            'a value on both sides of a sign: age > 60 and treatment != "oxygen". `not` takes '
            "parentheses, and a Milvus server."
        )

    def _wanted(self, found: _Kind, *kinds: _Kind) -> None:
        if found not in kinds:
            self._refuse()

    def _within(self, read: Callable[[], _Kind]) -> _Kind:
        self._depth += 1
        if self._depth > NESTED_MAX:
            raise ArchiveInput(f"The filter has more than {NESTED_MAX} things within each other.")
        kind = read()
        self._depth -= 1
        return kind

    # --- conditions ------------------------------------------------------------------------

    def _either(self) -> _Kind:
        return self._joined({"or", "||"}, self._both)

    def _both(self) -> _Kind:
        return self._joined({"and", "&&"}, self._comparison)

    def _joined(self, signs: set[str], read: Callable[[], _Kind]) -> _Kind:
        kind = read()
        while self._here in signs:
            self._wanted(kind, _Kind.CONDITION)
            self._at += 1
            self._wanted(read(), _Kind.CONDITION)
        return kind

    def _comparison(self) -> _Kind:
        start, left = self._at, self._sum()
        if sign := self._here if self._here in _COMPARE else "":
            kind = self._compared(start, left)
            self._note(start, sign)
            return kind
        before = self._at
        negated = self._take("not")
        if self._take("like"):
            if self._kind != "text":
                raise ArchiveInput(
                    'The filter has a like without a text behind it: label like "cov%".'
                )
            self._at += 1
            return self._asked_of_column(start, left, "not like" if negated else "like")
        if self._take("in"):
            self._constants()
            return self._asked_of_column(start, left, "not in" if negated else "in")
        if negated:
            self._at = before
            self._refuse()
        return left

    def _compared(self, start: int, left: _Kind) -> _Kind:
        """`age > 1`, `1 < age`, `1 < age < 3`."""
        if left is _Kind.CONDITION:
            self._refuse()
        sign = self._here
        self._at += 1
        right = self._sum()
        if right is _Kind.CONDITION:
            self._refuse()
        self._ask_of_films(start, left, right)
        chain = next((s for s in (_RISING, _FALLING) if sign in s and self._here in s), None)
        if chain and left in _FIXED and right is _Kind.COLUMN:
            self._at += 1
            if self._sum() not in _FIXED:
                self._refuse()
        return _Kind.CONDITION

    def _asked_of_column(self, start: int, kind: _Kind, sign: str) -> _Kind:
        self._ask_of_films(start, kind)
        if kind is not _Kind.COLUMN:
            beside = " ".join(word for _, word in self._words[start : self._at])
            raise ArchiveInput(
                f"The filter has {beside!r}, but `in` and `like` take a column, nothing computed."
            )
        self._note(start, sign)
        return _Kind.CONDITION

    def _note(self, start: int, sign: str) -> None:
        self.questions.append(Question(start, self._at, sign, self._negated))

    def _ask_of_films(self, start: int, *kinds: _Kind) -> None:
        if not _OF_FILMS.intersection(kinds):
            if _Kind.CONDITION in kinds:
                self._refuse()
            beside = " ".join(word for _, word in self._words[start : self._at])
            raise ArchiveInput(
                f"The filter has {beside!r}, which does not depend on the film. Compare a column "
                'with a value: age > 60 or treatment == "oxygen".'
            )

    # --- values ----------------------------------------------------------------------------

    def _sum(self) -> _Kind:
        return self._computed({"+", "-"}, self._product)

    def _product(self) -> _Kind:
        return self._computed({"*", "/", "%"}, self._signed)

    def _computed(self, signs: set[str], read: Callable[[], _Kind]) -> _Kind:
        """Arithmetic of a column and a number; two numbers are one, which can be written."""
        kind = read()
        while self._here in signs:
            sign = self._here
            self._at += 1
            if sign in "/%" and not (self._kind == "number" and float(self._here)):
                raise ArchiveInput(
                    f"The filter has a {sign} that is not followed by a number other than 0."
                )
            sides = {kind, read()}
            if not (sides & _OF_FILMS and _Kind.NUMBER in sides):
                raise ArchiveInput(
                    f"The filter has a {sign} that is not between a column and a number: "
                    "age * 12 > 720."
                )
            kind = _Kind.COMPUTED
        return kind

    def _signed(self) -> _Kind:
        if self._take("not") or self._take("!"):
            self._negated = not self._negated
            self._wanted(self._within(self._signed), _Kind.CONDITION)
            self._negated = not self._negated
            return _Kind.CONDITION
        start = self._at
        if self._take("exists"):
            self._wanted(self._column(), _Kind.COLUMN)
            self._note(start, "exists")
            return _Kind.CONDITION
        if self._take("+") or self._take("-"):
            kind = self._within(self._signed)
            self._wanted(kind, _Kind.NUMBER, *_OF_FILMS)
            return kind if kind is _Kind.NUMBER else _Kind.COMPUTED
        return self._value()

    def _value(self) -> _Kind:
        if self._here in FUNCTIONS and self._kind == "name":
            return self._call()
        if self._here == "[":
            return self._constants()
        if self._take("("):
            kind = self._within(self._either)
            if not self._take(")"):
                self._refuse()
            return kind
        if self._kind == "number" or self._kind == "text" or self._here in ("true", "false"):
            return self._constant()
        return self._column()

    def _call(self) -> _Kind:
        name = self._here
        self._at += 1
        if not self._take("("):
            raise ArchiveInput(
                f"The filter has {name}, which is a function, without parentheses. A column of "
                f'that name is metadata["{name}"].'
            )
        if self._here == ")":
            self._refuse()
        self._column()
        if name in CONTAINS:
            if not self._take(","):
                raise ArchiveInput(f'{name} takes a column and a value: {name}(tags, "x").')
            if name.endswith(("_all", "_any")):
                self._wanted(self._constants(), _Kind.LIST)
            elif self._here == "[":
                self._constants()
            else:
                self._constant()
        if not self._take(")"):
            self._refuse()
        return _Kind.CONDITION if name in CONTAINS else _Kind.COMPUTED

    def _constants(self) -> _Kind:
        """`[1, "a"]`, and lists in it."""
        if not self._take("["):
            self._refuse()
        if self._take("]"):
            return _Kind.LIST
        while True:
            if self._here == "[":
                self._within(self._constants)
            else:
                self._constant()
            if self._take("]"):
                return _Kind.LIST
            if not self._take(","):
                self._refuse()

    def _constant(self) -> _Kind:
        signed = self._take("-") or self._take("+")
        if self._kind == "number":
            self._at += 1
            return _Kind.NUMBER
        if signed or not (self._kind == "text" or self._here in ("true", "false")):
            self._refuse()
        self._at += 1
        return _Kind.CONSTANT

    def _column(self) -> _Kind:
        """`age`, `metadata["age"]`, `metadata["a"][0]`."""
        if self._kind != "name" or self._here in KEYWORDS | FUNCTIONS:
            self._refuse()
        self._at += 1
        while self._take("["):
            if self._kind != "text" and not self._here.isdecimal():
                self._refuse()
            self._at += 1
            if not self._take("]"):
                self._refuse()
        return _Kind.COLUMN
