"""One run of `cxrclient predict`: results and pictures as they come, and the run's summary."""

from __future__ import annotations

import io
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cxrclient.cli.exits import with_options
from cxrclient.cli.output.pictures import Pictures
from cxrclient.cli.output.progress import Advance, shown_progress
from cxrclient.cli.output.results import Result, result_writer
from cxrclient.cli.output.summary import summarised
from cxrclient.cli.terminal import say
from cxrclient.errors import CxrClientError, FilmError
from cxrclient.files import cannot_write
from cxrclient.films import FilmSearch
from cxrclient.runs import (
    Conditions,
    FileIdentity,
    JournaledResults,
    RunSummary,
    file_identity,
    open_results,
    result_record,
)
from cxrclient.wire import CxrClient


@dataclass(kw_only=True)
class PredictRun:
    """Predicts films and writes what becomes of them.

    Attributes:
        told: counts them.
        pictures: masks and overlays.
        search: that the films come from.
        kind: `table`, `jsonl` or `csv`.
        output: file of the results; None for stdout.
        resume: whether to go on with the results that are in it.
        replace: whether to replace them.
    """

    told: RunSummary
    pictures: Pictures
    search: FilmSearch
    kind: str
    output: Path | None
    resume: bool
    replace: bool

    def predict(
        self,
        client: CxrClient,
        sources: Iterable[str | FilmError],
        *,
        gate: bool,
        summary: Path | None,
    ) -> None:
        """Predict films in order, and write each result as it comes.

        Args:
            client: connected.
            sources: the films.
            gate: whether the client has it.
            summary: where the run's summary goes, also when it is interrupted.
        """
        search = self.search
        with summarised(summary, self.told, client) as more:
            try:
                if self.output and self.kind == "jsonl":
                    conditions = Conditions(client.model.digest, gate)
                    self._into_journal(client, sources, self.output, conditions)
                else:
                    self._into_stream(client, sources)
            finally:
                more |= {"passed_over": search.passed_over, "unmatched": search.unmatched}

    def _into_journal(
        self,
        client: CxrClient,
        sources: Iterable[str | FilmError],
        output: Path,
        conditions: Conditions,
    ) -> None:
        journal = JournaledResults(
            output,
            conditions,
            resume=self.resume,
            replace=self.replace,
            is_whole=self.pictures.are_there,
        )
        identities: deque[FileIdentity | None] = deque()
        try:
            self.told.keep(journal.kept)
            _say_what_is_resumed(journal)
            with self._progress() as advance:
                advance(self.told.films)

                def to_do() -> Iterator[str | FilmError]:
                    for source in sources:
                        if isinstance(source, FilmError):
                            identities.append(None)
                        elif journal.take(source):
                            continue
                        else:  # asked before the file is read: a change meanwhile is noticed later
                            identities.append(file_identity(source))
                        yield source

                for result, pictures in self._results(client, to_do(), advance):
                    record = result_record(result, pictures)
                    model = client.model if isinstance(result, FilmError) else result.model
                    journal.add(record, identities.popleft(), model.digest)
        finally:
            journal.close()

    def _into_stream(self, client: CxrClient, sources: Iterable[str | FilmError]) -> None:
        with _opened(self.output, replace=self.replace) as stream, self._progress() as advance:
            writer = result_writer(self.kind, stream, client.model)
            try:
                for result, pictures in self._results(client, sources, advance):
                    writer.add(result, pictures)
            finally:
                writer.close()

    def _results(
        self, client: CxrClient, sources: Iterable[str | FilmError], advance: Advance
    ) -> Iterator[tuple[Result, Mapping[str, str]]]:
        """Each result with its pictures, which are written first: no line speaks of none."""
        wanted = self.pictures.wanted
        for result in map(with_options, client.predict_many(sources, maps=wanted)):
            yield result, self.pictures.add(result, client.model)
            self.told.add(result)
            advance(1, result.status if isinstance(result, FilmError) else "ok")

    @contextmanager
    def _progress(self) -> Iterator[Advance]:
        has_results = self.output is None
        with shown_progress(self.search, stdout_has_results=has_results) as advance:
            yield advance


def _say_what_is_resumed(journal: JournaledResults) -> None:
    if journal.again:
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(journal.again.items()))
        say(f"Lines left out, their films predicted again: {reasons}.")


@contextmanager
def _opened(output: Path | None, *, replace: bool) -> Iterator[TextIO]:
    if output is None:
        # A path may hold bytes that are no text; they must not end the run.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    held = open_results(output, replace=replace)
    try:
        with io.TextIOWrapper(
            held, encoding="utf-8", errors="backslashreplace", newline=""
        ) as file:
            yield file
    except OSError as error:
        if error.filename is not None:
            raise
        raise CxrClientError(cannot_write(output, error)) from error
