"""One run of `cxrclient index`: films into the archive, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrclient.archive import Added, FilmMetadata, SimilarityIndex, load_patient_key
from cxrclient.cli.exits import Exit, exit_of
from cxrclient.cli.options.metadata import known_of
from cxrclient.cli.output.archived import IntoArchive, Tally, say_what_labels_are
from cxrclient.cli.output.failures import Failures
from cxrclient.cli.output.progress import shown_progress
from cxrclient.cli.output.summary import search_record, summarised
from cxrclient.cli.terminal import say
from cxrclient.errors import FilmError
from cxrclient.films import FilmSearch
from cxrclient.runs import (
    Conditions,
    IndexJournal,
    Kept,
    OtherPatient,
    Repeated,
    RunSummary,
    archive_films,
    journal_path,
    require_stored,
    stored_lines,
    stored_predictions,
    without_header,
)
from cxrclient.wire import CxrClient, Prediction

if TYPE_CHECKING:
    from cxrclient.cli.options.archive import Access


@dataclass(kw_only=True)
class IndexRun:
    """Predicts films, stores them and counts what became of each.

    Attributes:
        told: counts them.
        search: that the films come from.
        metadata: film path → its row.
        key: the site's key.
        hash_uids: as in `archive_films`.
        site: likewise.
        resume: likewise.
    """

    told: RunSummary
    search: FilmSearch
    metadata: Mapping[str, FilmMetadata]
    key: bytes
    hash_uids: bool
    site: str | None
    resume: bool

    def __post_init__(self) -> None:
        self._tally = Tally("", self.told)
        self._digest = ""
        self._failures = Failures()

    def index(
        self,
        cxr: CxrClient,
        archive: SimilarityIndex,
        sources: Iterable[str | FilmError],
        *,
        gate: bool,
        summary: Path | None,
    ) -> None:
        """Put films into the archive.

        Args:
            cxr: connected.
            archive: open.
            sources: the films.
            gate: whether the client has it.
            summary: where the run's summary goes, also when it is interrupted.
        """
        self._digest = archive.model_digest
        self._tally = Tally(archive.uri, self.told)
        conditions = Conditions(self._digest, gate)
        with (
            summarised(summary, self.told, cxr) as more,
            closing(IndexJournal(journal_path(archive.uri), conditions, self.key)) as journal,
            shown_progress(self.search, stdout_has_results=False) as advance,
        ):
            outcomes = archive_films(
                cxr,
                archive,
                sources,
                metadata=self.metadata,
                key=self.key,
                hash_uids=self.hash_uids,
                site=self.site,
                journal=journal,
                resume=self.resume,
                on_prediction=self.told.see,
            )
            # Closed before the archive, so that what is left of a batch can still be stored.
            with closing(outcomes):
                try:
                    for outcome in outcomes:
                        fate = outcome.status if isinstance(outcome, FilmError) else "ok"
                        advance(self._count(outcome), fate)
                except KeyboardInterrupt:
                    say(f"{archive.uri}: {self._tally}. Index with --resume to go on.")
                    raise
                finally:
                    self._failures.say_the_rest()
                    self._tally.warn()
                    more |= {"archive": self._tally.record(), **search_record(self.search)}
            archive.fit_index()
            films = more["archive"]["films"] = len(archive)
        say(f"{archive.uri}: {self._tally}; {films} films in all", err=False)

    def _count(self, outcome: Added | Kept | Repeated | OtherPatient | FilmError) -> int:
        """How many films the outcome is of; said, where there is something to say."""
        told = self.told
        if isinstance(outcome, FilmError):
            told.add(outcome)
            self._failures.say(outcome)
            return 1
        films = self._tally.add(outcome)
        if isinstance(outcome, Kept):
            told.keep({"ok": films})
            return films
        told.fates["ok"] += films
        if isinstance(outcome, Added):
            told.models[self._digest] += outcome.added
        return films


def index_stored(
    results: Path,
    uri: str,
    access: Access,
    metadata: Path | None,
    *,
    hash_uids: bool,
    site: str | None,
    gate: bool,
) -> Exit:
    """Put stored results into an archive; nothing is predicted.

    Args:
        results: with embeddings.
        uri: of the archive.
        access: to its server.
        metadata: CSV of what is known of the films.
        hash_uids: as in `archive_films`.
        site: as in `archive_films`.
        gate: for the archive's journal.
    """
    digest = require_stored(results, maps=False)
    paths = (line["path"] for line in stored_lines(results))
    known = {} if metadata is None else known_of(metadata, paths)
    told = RunSummary("index", {})
    with (
        SimilarityIndex(uri, model_digest=digest, **access) as archive,
        IntoArchive(
            archive,
            Tally(archive.uri, told),
            metadata=known,
            key=load_patient_key(),
            hash_uids=hash_uids,
            site=site,
            gate=gate,
        ) as into,
    ):
        failures = Failures()
        for stored in stored_predictions(results):
            outcome = stored
            if isinstance(stored, Prediction) and stored.film is None:
                row = known.get(stored.path or "")
                outcome = stored if row and row.patient_id else without_header(stored)
            if isinstance(outcome, FilmError):
                failures.say(outcome)
            told.add(outcome)
            into.add(outcome)
        failures.say_the_rest()
        into.finish()
        say_what_labels_are(known, told.fates["ok"])
    say("Research use only: not for diagnosis.", fg="yellow")
    return exit_of(told.fates)
