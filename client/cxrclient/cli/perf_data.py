"""`cxrclient perf-data`: films as NVIDIA's perf_analyzer sends them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes
from cxrclient.cli.options.piles import Films, Pile, with_pile
from cxrclient.cli.terminal import say
from cxrclient.errors import FilmError

if TYPE_CHECKING:
    from cxrclient.films import Part


class _Read:
    """Films as the client sends them, and how many could not be read."""

    def __init__(self) -> None:
        from cxrclient.cli.output.failures import Failures

        self.films = self.bytes = self.failed = 0
        self.failures = Failures()

    def payloads(self, sources: Iterable[str | FilmError]) -> Iterator[list[Part]]:
        from cxrclient.films import read_parts

        for source in sources:
            try:
                if isinstance(source, FilmError):
                    raise source
                _, payload = read_parts(source)
            except FilmError as error:
                self.failures.say(error, source)
                self.failed += 1
                continue
            self.films += 1
            self.bytes += sum(map(len, payload))
            yield list(payload)
        self.failures.say_the_rest()


@with_pile
def perf_data(
    films: Films = None,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The JSON file to write, or - for stdout.",
            show_default=False,
        ),
    ],
    pile: Pile,
) -> None:
    """Write films as input for NVIDIA's perf_analyzer, to measure a server under load.

    The films are as `predict` sends them: pixels and what is needed to read them, without names,
    numbers, dates. No server is needed. perf_analyzer keeps the whole file in memory, so give it
    some dozens of films. The file is for its owner alone: it holds pixels.

    Exit code 3: some films could not be read; the others are in the file. 2: none could.
    """
    with errors_as_exit_codes():
        from cxrclient.cli.output.summary import say_what_was_no_film
        from cxrclient.errors import UsageError
        from cxrclient.files import replacing
        from cxrclient.wire import write_perf_data

        search = pile.search(films)
        sources = search.at_least_one()
        read = _Read()
        to_stdout = output == Path("-")
        stdout = nullcontext(typer.get_binary_stream("stdout"))
        with stdout if to_stdout else replacing(output, secret=True) as file:
            write_perf_data(file, read.payloads(sources))
            if not read.films:
                raise UsageError(
                    f"None of {read.failed} films can be read, so {output} stays as it is."
                )
        many = "1 film" if read.films == 1 else f"{read.films} films"
        say(f"{output}: {many}, {read.bytes / 1e6:.1f} MB. Measure with:", err=to_stdout)
        say(
            f"perf_analyzer -m cxr -i grpc -u localhost:8001 --async --input-data {output} "
            "--concurrency-range 4",
            err=to_stdout,
            lines=True,
        )
        say_what_was_no_film(search)
        raise typer.Exit(Exit.SOME_FILMS if read.failed else Exit.OK)
