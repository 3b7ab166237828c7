"""One run of `cxrclient index`: films into the archive, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cxrclient.archive import Added, FilmMetadata, SimilarityIndex
from cxrclient.cli.output.failures import Failures
from cxrclient.cli.output.progress import shown_progress
from cxrclient.cli.output.summary import summarised
from cxrclient.cli.terminal import say
from cxrclient.errors import FilmError
from cxrclient.films import FilmSearch
from cxrclient.runs import (
    Conditions,
    IndexJournal,
    Kept,
    Repeated,
    RunSummary,
    archive_films,
    journal_path,
)
from cxrclient.wire import CxrClient


@dataclass(kw_only=True)
class IndexRun:
    """Predicts films, stores them and counts what became of each.

    Attributes:
        told: counts them.
        search: that the films come from.
        metadata: film path → its row.
        key: the site's key.
        hash_uids: as in `archive_films`.
        resume: likewise.
    """

    told: RunSummary
    search: FilmSearch
    metadata: Mapping[str, FilmMetadata]
    key: bytes
    hash_uids: bool
    resume: bool

    def __post_init__(self) -> None:
        self._done = Added(0, 0)
        self._repeated = 0
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
                    say(f"{archive.uri}: {self}. Index with --resume to go on.")
                    raise
                finally:
                    self._failures.say_the_rest()
                    more |= self._record(archive.uri)
            archive.fit_index()
            films = more["archive"]["films"] = len(archive)
        say(f"{archive.uri}: {self}; {films} films in all", err=False)

    def __str__(self) -> str:
        fates = self.told.fates
        return (
            f"{self._done.added} added, {self._done.already_there} already there, "
            f"{self._repeated} repeated, {fates['failed'] + fates['rejected']} failed or rejected"
        )

    def _count(self, outcome: Added | Kept | Repeated | FilmError) -> int:
        """How many films the outcome is of; said, where there is something to say."""
        told = self.told
        if isinstance(outcome, FilmError):
            told.add(outcome)
            self._failures.say(outcome)
            return 1
        if isinstance(outcome, Kept):
            told.keep({"ok": outcome.films})
            self._done += Added(0, outcome.films)
            return outcome.films
        if isinstance(outcome, Repeated):
            told.fates["ok"] += 1
            self._repeated += 1
            same = f"the same film as {outcome.first_path}, kept once"
            say(f"{outcome.path}: {same}")
            return 1
        films = outcome.added + outcome.already_there
        told.fates["ok"] += films
        told.models[self._digest] += outcome.added
        self._done += outcome
        return films

    def _record(self, uri: str) -> dict[str, object]:
        return {
            "archive": {
                "uri": uri,
                "added": self._done.added,
                "already_there": self._done.already_there,
                "repeated": self._repeated,
            },
            "passed_over": self.search.passed_over,
            "unmatched": self.search.unmatched,
        }
