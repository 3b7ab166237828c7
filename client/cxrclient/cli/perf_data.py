"""`cxrclient perf-data`: films as NVIDIA's perf_analyzer sends them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes
from cxrclient.cli.options.piles import Films, Pile, with_pile
from cxrclient.cli.terminal import counted, say
from cxrclient.errors import FilmError

if TYPE_CHECKING:
    from cxrclient.films import Part
    from cxrclient.wire import Endpoint

_OF_A_CHECKOUT = "benchmarks/perf_analyzer.py"
"""Fetches NVIDIA's program, and runs it."""
_GRPC_PORT = "8001"
"""Where it is Triton's usual one, so is HTTP's, as a rule."""


class _Read:
    """Films as the client sends them, and how many could not be read."""

    def __init__(self) -> None:
        from cxrclient.cli.output.failures import Failures

        self.films = self.failed = 0
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
    some dozens of films. The file is for its owner alone: it holds pixels. What to run then is
    printed, for the server in CXR_SERVER.

    Exit code 3: some films could not be read; the others are in the file. 2: none could.
    """
    with errors_as_exit_codes():
        from cxrclient.cli.output.summary import say_what_was_no_film
        from cxrclient.errors import UsageError
        from cxrclient.files import replacing
        from cxrclient.settings import client_settings
        from cxrclient.wire import Endpoint, write_perf_data

        endpoint = Endpoint(client_settings().server)
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
        size = "" if to_stdout else f", {output.stat().st_size / 1e6:.1f} MB"
        how = "Measure over gRPC or HTTP (what TLS and tokens take: docs/performance.md)"
        how += (
            ":"
            if endpoint.address.endswith(f":{_GRPC_PORT}")
            else "; put the server's in for HTTP_PORT:"
        )
        say(f"{output}: {counted(read.films)}{size}. {how}", err=to_stdout)
        for command in _commands(endpoint, output):
            say(command, err=to_stdout)
        say_what_was_no_film(search)
        raise typer.Exit(Exit.SOME_FILMS if read.failed else Exit.OK)


def _commands(endpoint: Endpoint, films: Path) -> Iterator[str]:
    """What measures the server, over gRPC and over HTTP."""
    host, _, port = endpoint.address.rpartition(":")
    program = f"python {_OF_A_CHECKOUT}" if Path(_OF_A_CHECKOUT).is_file() else "perf_analyzer"
    for how, at in (("grpc", port), ("http", "8000" if port == _GRPC_PORT else "HTTP_PORT")):
        yield (
            f"{program} -m cxr -i {how} -u {host}:{at} --async "
            f"--input-data {shlex.quote(str(films))} --concurrency-range 4 --request-count 200"
        )
