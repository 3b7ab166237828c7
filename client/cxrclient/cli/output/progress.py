"""How far a run is, for a person who looks on."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, Task

    from cxrclient.films import FilmSearch

_PACE_AFTER_S = 1.0
_FATES = {"ok": "done", "rejected": "rejected", "failed": "failed"}


class Advance(Protocol):
    """Moves a bar."""

    def __call__(self, films: int, fate: str = "") -> None:
        """Say that so many films more are behind the run.

        Args:
            films: how many.
            fate: their status, `ok`, `rejected` or `failed`; nothing where it is not told.
        """


@contextmanager
def shown_progress(search: FilmSearch | None, *, stdout_has_results: bool) -> Iterator[Advance]:
    """A bar on stderr with fates, rate and time left; nothing where nobody looks on.

    How many files may be films is counted beside the run by their names, for the walk is lazy;
    until it is known, the bar has no end. Those that the run finds to be none come off again.

    Args:
        search: that the run's films come from; None for no bar.
        stdout_has_results: whether lines of results run through the same terminal.

    Yields:
        Advance the bar.
    """
    if search is None or not sys.stderr.isatty() or (stdout_has_results and sys.stdout.isatty()):
        yield _nowhere
        return
    from rich import progress as bars

    from cxrclient.cli.terminal import console as terminal_console

    pace = _Pace()

    class Rate(bars.ProgressColumn):
        def render(self, task: bars.Task) -> str:
            speed = pace.films_per_s(task.completed)
            return "" if speed is None else f"{speed:.1f} films/s"

    def seconds_left(task: bars.Task) -> float | None:
        speed = pace.films_per_s(task.completed)
        return None if speed is None or task.remaining is None else task.remaining / speed

    columns = (
        bars.SpinnerColumn(),
        bars.BarColumn(bar_width=20),
        bars.MofNCompleteColumn(),
        bars.TextColumn("films{task.fields[fates]}"),
        Rate(),
        _time_left_column(seconds_left),
    )
    # Left alone, rich would send what is printed to stdout to its own console, which is stderr.
    console, ended = terminal_console(stderr=True), threading.Event()
    with bars.Progress(*columns, console=console, transient=True, redirect_stdout=False) as shown:
        task = shown.add_task("films", total=None, fates="")
        fates: Counter[str] = Counter()
        named: int | None = None

        def count() -> None:
            nonlocal named
            named = _counted(search.names_alone(), ended)
            advance(0)

        def advance(films: int, fate: str = "") -> None:
            fates[fate] += films
            pace.note(fates.total())
            total = None if named is None else named - search.looked_into_in_vain
            shown.update(task, advance=films, total=total, fates=in_words(fates))

        threading.Thread(target=count, name="count films", daemon=True).start()
        try:
            yield advance
        finally:
            ended.set()


class _Pace:
    """Films a second since the first came: those of a batch, or of a resumed run, come at once.

    rich's own is that of the last two updates at first, and forgotten with each new total.
    """

    def __init__(self) -> None:
        self._first, self._since = 0, 0.0

    def note(self, films: int) -> None:
        """Note how many there are."""
        if films and not self._first:
            self._first, self._since = films, time.monotonic()

    def films_per_s(self, films: float) -> float | None:
        """How fast they came; None until it can be told."""
        gone, more = time.monotonic() - self._since, films - self._first
        return more / gone if self._first and more > 0 and gone >= _PACE_AFTER_S else None


def bar_columns() -> tuple[ProgressColumn, ...]:
    """The columns of any bar: what it is of, how much of how much, and the time left in words."""
    from rich import progress as bars

    return (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        _time_left_column(),
    )


def _time_left_column(
    seconds: Callable[[Task], float | None] = lambda task: task.time_remaining,
) -> ProgressColumn:
    from rich import progress as bars

    class TimeLeft(bars.ProgressColumn):
        max_refresh = 1.0

        def render(self, task: bars.Task) -> str:
            return time_left(seconds(task))

    return TimeLeft()


def _nowhere(films: int, fate: str = "") -> None:
    """Move no bar."""


def in_words(fates: Mapping[str, int]) -> str:
    """Counts of what became of films, as ` (20 done, 3 rejected)`; nothing before the first."""
    told = ", ".join(f"{fates[fate]} {word}" for fate, word in _FATES.items() if fates.get(fate))
    return f" ({told})" if told else ""


def time_left(seconds: float | None) -> str:
    """Time left in words, so that nobody takes it for time gone; a guess, so it is rounded."""
    if not seconds:
        return ""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s left"
    if seconds < 3600:
        return f"about {round(seconds / 60)} min left"
    return f"about {round(seconds / 3600, 1):g} h left"


def _counted(search: FilmSearch, ended: threading.Event) -> int | None:
    """How many files may be films; None where the run ended meanwhile."""
    total = 0
    for _film in search:
        total += 1
        if ended.is_set():
            return None
    return total
