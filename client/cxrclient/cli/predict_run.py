"""One run of `cxrclient predict`: results and pictures as they come, and the run's summary."""

from __future__ import annotations

import io
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from cxrclient.cli.exits import with_options
from cxrclient.cli.output.pictures import Pictures
from cxrclient.cli.output.progress import Advance, shown_progress
from cxrclient.cli.output.results import Result, result_writer
from cxrclient.cli.output.summary import search_record, summarised
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
    write_maps,
)
from cxrclient.wire import CxrClient, Prediction

if TYPE_CHECKING:
    from cxrclient.cli.output.archived import IntoArchive
    from cxrclient.cli.output.dicom import DicomFolder
    from cxrclient.cli.output.page import RunPage


@dataclass(kw_only=True)
class PredictRun:
    """Predicts films, each once, and writes what becomes of them, in whatever form is wanted.

    Attributes:
        told: counts them.
        pictures: masks and overlays.
        search: that the films come from.
        kind: `table`, `jsonl` or `csv`.
        output: file of the results; None for stdout.
        resume: whether to go on with the results that are in it.
        replace: whether to replace them.
        embeddings: whether results have them.
        maps: folder to keep the maps in; None for none.
        into: the archive that the films go into.
        page: of the films.
        dicom: folder of DICOM objects.
    """

    told: RunSummary
    pictures: Pictures
    search: FilmSearch
    kind: str
    output: Path | None
    resume: bool
    replace: bool
    embeddings: bool = False
    maps: Path | None = None
    into: IntoArchive | None = None
    page: RunPage | None = None
    dicom: DicomFolder | None = None
    needs: dict[str, Callable[[Mapping[str, Any]], bool]] = field(default_factory=dict)

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
        with summarised(summary, self.told, client) as more:
            if self.output and self.kind == "jsonl":
                conditions = Conditions(client.model.digest, gate)
                results = self._into_journal(client, sources, self.output, conditions)
            else:
                results = self._into_stream(client, sources)
            into = self.into
            try:
                with closing(results):
                    if self.page:
                        self.page.write(client, results, then=into.flush if into else None)
                    for _result in results:
                        pass
                if into:
                    more["archive"] = into.finish()
            finally:
                more |= search_record(self.search)

    def _into_journal(
        self,
        client: CxrClient,
        sources: Iterable[str | FilmError],
        output: Path,
        conditions: Conditions,
    ) -> Generator[Result, None, None]:
        journal = JournaledResults(
            output,
            conditions,
            resume=self.resume,
            replace=self.replace,
            needs={"without pictures": self.pictures.are_there, **self.needs},
        )
        identities: deque[FileIdentity | None] = deque()
        try:
            self.told.keep(journal.kept)
            _say_what_is_resumed(journal)
            with self._progress() as advance:
                advance(self.told.films)

                def to_do() -> Iterator[str | FilmError]:
                    for source in sources:
                        path = (source.path or "") if isinstance(source, FilmError) else source
                        if journal.take(path):
                            continue
                        # Asked before the file is read: a change meanwhile is noticed later.
                        identities.append(file_identity(path))
                        yield source

                for result, files in self._results(client, to_do(), advance):
                    record = result_record(result, files, embedding=self.embeddings)
                    model = client.model if isinstance(result, FilmError) else result.model
                    journal.add(record, identities.popleft(), model.digest)
                    yield result
        finally:
            journal.close()

    def _into_stream(
        self, client: CxrClient, sources: Iterable[str | FilmError]
    ) -> Generator[Result, None, None]:
        with _opened(self.output, replace=self.replace) as stream, self._progress() as advance:
            writer = result_writer(self.kind, stream, client.model, embedding=self.embeddings)
            try:
                for result, files in self._results(client, sources, advance):
                    writer.add(result, files)
                    yield result
            finally:
                writer.close()

    def _results(
        self, client: CxrClient, sources: Iterable[str | FilmError], advance: Advance
    ) -> Iterator[tuple[Result, Mapping[str, str]]]:
        """Each result with its files, which are written first: no line speaks of none."""
        wanted = bool(self.pictures.wanted or self.maps or self.page or self.dicom)
        films = self.into.to_do(sources) if self.into else sources
        for result in map(with_options, client.predict_many(films, maps=wanted)):
            files = self.pictures.add(result, client.model)
            if self.maps and isinstance(result, Prediction):
                files["maps"] = write_maps(self.maps, result)
            if self.dicom:
                files |= self.dicom.add(result, client.model)
            if self.into:
                self.into.add(result)
            yield result, files
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
