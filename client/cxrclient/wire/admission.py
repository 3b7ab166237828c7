"""Which of the server's codes turn a film away, and which only warn: the client knows none."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from cxrclient.errors import FilmError
from cxrclient.files import parse_json

CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
"""What a server's codes look like; anything may stand where a film's flags should."""


@dataclass(frozen=True, slots=True)
class AdmissionCode:
    """One of the server's reasons.

    Attributes:
        code: as it stands among a film's flags.
        rejects: whether a film with it is turned away; a warning otherwise.
        sentence: what it means, and what to do.
    """

    code: str
    rejects: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Admission:
    """The server's rules of admission.

    Attributes:
        codes: every code that rejects or warns, the weightiest first. A flag that is not among
            them is a fact about the film and no judgement.
        not_judged: codes that this model cannot give, because no films were shown to it.
    """

    codes: tuple[AdmissionCode, ...] = ()
    not_judged: tuple[str, ...] = ()

    @classmethod
    def from_parameter(cls, text: str | None) -> Admission:
        """Read the ensemble's parameter `admission`; a server that has none rejects nothing.

        Raises:
            ValueError: it is not what it should be.
        """
        if text is None:
            return cls()
        try:
            told = parse_json(text)
            actions = {"reject": True, "warn": False}
            return cls(
                codes=tuple(
                    AdmissionCode(
                        _code(one["code"]), actions[one["action"]], _sentence(one["sentence"])
                    )
                    for one in told["codes"]
                ),
                not_judged=tuple(map(_code, told.get("not_judged", ()))),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"admission cannot be read ({error})") from error

    def warnings(self, flags: Collection[str]) -> tuple[str, ...]:
        """Give those of a film's flags that reject or warn, the weightiest first."""
        return tuple(each.code for each in self.codes if each.code in flags)

    def refuse(self, flags: Collection[str]) -> None:
        """Raise FilmError (rejected), with the weightiest of a film's flags that turn it away."""
        for each in self.codes:
            if each.rejects and each.code in flags:
                raise FilmError(each.code, each.sentence, status="rejected")

    def sentence(self, code: str) -> str:
        """Say what a code means; the code itself where the server did not say."""
        return next((each.sentence for each in self.codes if each.code == code), code)


def _code(told: object) -> str:
    if not isinstance(told, str) or not CODE.fullmatch(told):
        raise ValueError("a code is none")
    return told


def _sentence(told: object) -> str:
    if not isinstance(told, str) or not told.strip():
        raise ValueError("a sentence is none")
    return told
