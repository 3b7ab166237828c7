"""How far a run is, for a person who looks on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrclient.films import FilmSearch

Advance = Callable[[int], None]


@contextmanager
def shown_progress(search: FilmSearch | None, *, stdout_has_results: bool) -> Iterator[Advance]:
    """A bar on stderr with rate and time left; nothing where nobody looks on.

    How many files may be films is counted beside the run by their names, for the walk is lazy;
    until it is known, the bar has no end. Those that the run finds to be none come off again.

    Args:
        search: that the run's films come from; None for no bar.
        stdout_has_results: whether lines of results run through the same terminal.

    Yields:
        Advance the bar by so many films.
    """
    if search is None or not sys.stderr.isatty() or (stdout_has_results and sys.stdout.isatty()):
        yield lambda _films: None
        return
    from rich import progress as bars

    from cxrclient.cli.terminal import console as terminal_console

    class Rate(bars.ProgressColumn):
        def render(self, task: bars.Task) -> str:
            speed = task.finished_speed or task.speed
            return "" if speed is None else f"{speed:.1f} films/s"

    columns = (
        bars.SpinnerColumn(),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("films"),
        Rate(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
    )
    # Left alone, rich would send what is printed to stdout to its own console, which is stderr.
    console, ended = terminal_console(stderr=True), threading.Event()
    with bars.Progress(
        *columns, console=console, transient=True, redirect_stdout=False, speed_estimate_period=60
    ) as shown:
        task = shown.add_task("films", total=None)
        named: int | None = None

        def count() -> None:
            nonlocal named
            named = _counted(search.names_alone(), ended)
            advance(0)

        def advance(films: int) -> None:
            total = None if named is None else named - search.looked_into_in_vain
            shown.update(task, advance=films, total=total)

        threading.Thread(target=count, name="count films", daemon=True).start()
        try:
            yield advance
        finally:
            ended.set()


def _counted(search: FilmSearch, ended: threading.Event) -> int | None:
    """How many files may be films; None where the run ended meanwhile."""
    total = 0
    for _film in search:
        total += 1
        if ended.is_set():
            return None
    return total
