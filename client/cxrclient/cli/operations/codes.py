"""`cxrclient codes`: what each code means, and what to do.

Nothing is said twice: an error's meaning is its class's first sentence, the gate's codes are those
of the repository that comes with this package, an archive's those of `archive verify`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes, naming_options
from cxrclient.cli.terminal import console, say
from cxrclient.errors import CxrClientError, FilmError, Rejected, UsageError
from cxrclient.fates import FATES, WARNINGS

_TOLD = {
    "POLARITY_TURNED": "Small values were bright (MONOCHROME1, or INVERSE); the film was turned.",
    "PADDED": "The header names some values as padding, which is no part of the film.",
    "LOSSY_COMPRESSED": "The film is compressed with losses, or once was.",
    "SECONDARY_CAPTURE": "The film is a screen shot, a scan or a converted film.",
    "FOR_PROCESSING": "The film has the detector's raw values, which are not meant to be seen.",
    "VIEW_LATERAL": "The header says that it is a lateral or oblique view.",
    "NO_RADIOGRAPH": "The header names an examination that is never a radiograph, such as CT.",
    "NO_HEADER": "The film is a PNG or JPEG, so no header tells of it.",
    "NO_WINDOW": "The header has no window; the whole range of values was taken.",
    "WINDOW_UNUSABLE": "The header's window is wrong; the whole range of values was taken.",
}
"""Flags of a film that judge nothing. Those that do are the gate's."""


@dataclass(frozen=True)
class Meaning:
    """What a code means.

    Attributes:
        code: stable.
        of: what it tells of.
        meaning: a sentence.
        mend: what to do; empty where the meaning says it, or there is nothing to do.
        exit_codes: of a command that it ends, or that met it on the way.
    """

    code: str
    of: str
    meaning: str
    mend: str = ""
    exit_codes: tuple[int, ...] = ()


def codes_of(root: Any) -> Iterator[Meaning]:
    """Say what the codes of a tree of errors mean, from its root on.

    Args:
        root: a class with `code`, `mend` and `exit_code`, as its subclasses have.
    """
    found: dict[str, list[Any]] = {}
    for kind in _tree(root):
        if "mend" in vars(kind):  # the others have no code, or never raise it
            found.setdefault(kind.code, []).append(kind)
    for code, kinds in found.items():
        of = "film, rejected" if issubclass(kinds[0], Rejected) else "error"
        meaning = str(kinds[0].__doc__).partition("\n\n")[0].replace("\n    ", " ")
        exits = sorted({kind.exit_code for kind in kinds})
        yield Meaning(code, of, meaning, " ".join(kind.mend for kind in kinds), tuple(exits))


def _tree(kind: Any) -> Iterator[Any]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


def _all_codes() -> Iterator[Meaning]:
    from cxrclient.archive import fault_meanings
    from cxrclient.node import NOTES
    from cxrclient.serving import own_repository, read_admission

    some = (int(FilmError.exit_code),)
    yield from codes_of(CxrClientError)
    for code, (meaning, mend) in FATES.items():
        yield Meaning(code, "film, failed", meaning, mend, some)
    for code, (meaning, mend) in WARNINGS.items():
        yield Meaning(code, "index, warns", meaning, mend)
    for code, (meaning, mend) in NOTES.items():
        yield Meaning(code, "node", meaning, mend)
    for each in read_admission(own_repository()).codes:
        exits = some if each.rejects else ()
        yield Meaning(each.code, "gate, rejects" if each.rejects else "gate, warns", each.sentence,
                      exit_codes=exits)  # fmt: skip
    for code, meaning in _TOLD.items():
        yield Meaning(code, "flag of a film", meaning)
    for code, meaning in fault_meanings().items():
        sentence = meaning[:1].upper() + meaning[1:]
        yield Meaning(code, "archive verify", sentence, exit_codes=(int(Exit.SOME_FILMS),))


def print_codes(codes: Iterable[Meaning], wanted: str | None, output: str) -> None:
    """Print what codes mean.

    Args:
        codes: all there are.
        wanted: the only one to print; None for all.
        output: `table`, or `json`.

    Raises:
        UsageError: there is no such code.
    """
    found = list(codes)
    if wanted is not None:
        names = [each.code for each in found]
        found = [each for each in found if each.code == wanted.upper()]
        if not found:
            from difflib import get_close_matches

            near = get_close_matches(wanted.upper(), names, 1, cutoff=0.0)
            raise UsageError(f"No code is called {wanted}. The nearest is {near[0]}.")
    if output == "json":
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    from rich import box
    from rich.table import Table

    table = Table("code", "of", "exit", "what it means, and what to do", box=box.SIMPLE)
    for each in found:
        said = naming_options(f"{each.meaning} {each.mend}".strip())
        table.add_row(each.code, each.of, " or ".join(map(str, each.exit_codes)), said)
    table.columns[0].no_wrap = True
    console().print(table)
    if wanted is None:
        say("Exit codes: " + "; ".join(f"{c.value} {c.meaning}" for c in Exit) + ".", err=False)


Code = Annotated[
    str | None, typer.Argument(metavar="[CODE]", help="Only this code.", show_default=False)
]
Format = Annotated[
    Literal["table", "json"],
    typer.Option("--format", help="table is for people, json for programs."),
]


def codes(code: Code = None, output: Format = "table") -> None:
    """Say what each code of an error, a film, the gate, a node or an archive means, and what to do.

    A server may have a gate of its own; these are the codes of the one that comes with cxr-triton.
    """
    with errors_as_exit_codes():
        print_codes(_all_codes(), code, output)
