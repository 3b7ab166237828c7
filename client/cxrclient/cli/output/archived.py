"""What a run's archive got of it: films as they come, counted and said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cxrclient.archive import (
    EMBEDDING_SIZE,
    Added,
    FilmMetadata,
    SimilarityIndex,
    load_patient_key,
)
from cxrclient.cli.terminal import say
from cxrclient.errors import ArchiveMismatch, FilmError
from cxrclient.fates import OTHER_PATIENT, WARNINGS
from cxrclient.runs import (
    Archiving,
    Conditions,
    IndexJournal,
    Kept,
    OtherPatient,
    Repeated,
    RunSummary,
    journal_path,
    not_archived,
)
from cxrclient.wire import Prediction

if TYPE_CHECKING:
    from cxrclient.cli.options.archive import Access
    from cxrclient.wire import EnsembleInfo


_OF_ROW = {
    "taken": ", with this path's row of the metadata",
    "differs": "; the two paths have different rows of metadata, and the first path's is kept",
}


class Tally:
    """Counts what an archive did with the films of a run.

    Args:
        uri: of the archive.
        told: counts the fates of the run.
    """

    def __init__(self, uri: str, told: RunSummary) -> None:
        self._uri = uri
        self._told = told
        self._done = Added(0, 0)
        self._repeated = 0
        self._others: list[str | None] = []

    def __str__(self) -> str:
        fates = self._told.fates
        return (
            f"{self._done.added} added, {self._done.already_there} already there, "
            f"{self._repeated} repeated, {fates['failed'] + fates['rejected']} failed or rejected"
        )

    def add(self, outcome: Added | Kept | Repeated | OtherPatient) -> int:
        """Count an outcome; gives of how many films it is that have ended."""
        if isinstance(outcome, OtherPatient):
            self._others.append(outcome.path)
            return 0
        if isinstance(outcome, Repeated):
            more = _OF_ROW[outcome.row] if outcome.row else ""
            say(f"{outcome.path}: the same film as {outcome.first_path}, kept once{more}")
            counted = outcome.row != "taken"  # else when it is written
            self._repeated += counted
            return int(counted)
        done = Added(0, outcome.films) if isinstance(outcome, Kept) else outcome
        self._done += done
        return done.added + done.already_there

    def warn(self) -> None:
        """Say what was odd about films that were taken."""
        if self._others:
            meaning = " ".join(WARNINGS[OTHER_PATIENT])
            count = len(self._others)
            whose = f"{count} films, the first {self._others[0]}" if count > 1 else self._others[0]
            say(f"{OTHER_PATIENT}: {whose}. {meaning}", fg="yellow")

    def record(self) -> dict[str, object]:
        """For a summary."""
        return {
            "uri": self._uri,
            "added": self._done.added,
            "already_there": self._done.already_there,
            "repeated": self._repeated,
            "other_patient": len(self._others),
        }


class IntoArchive:
    """Puts a run's predictions into an archive, beside its other outputs. A context manager.

    Args:
        archive: open.
        tally: counts them.
        metadata: film path → its row.
        key: the site's key.
        hash_uids: as in Archiving.
        site: as in Archiving.
        gate: whether the client has it.
    """

    def __init__(
        self,
        archive: SimilarityIndex,
        tally: Tally,
        *,
        metadata: Mapping[str, FilmMetadata],
        key: bytes,
        hash_uids: bool,
        site: str | None,
        gate: bool,
    ) -> None:
        self.archive = archive
        self._uid_key = key if hash_uids else None
        self.tally = tally
        self._opened = ExitStack()
        journal = IndexJournal(
            journal_path(archive.uri), Conditions(archive.model_digest, gate), key
        )
        self._opened.callback(journal.close)
        try:
            self._archiving = Archiving(
                archive,
                metadata=metadata,
                key=key,
                hash_uids=hash_uids,
                site=site,
                journal=journal,
            )
        except BaseException:
            self._opened.close()
            raise
        self._opened.callback(self._archiving.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._opened:
            self.flush()

    def to_do(self, films: Iterable[str | FilmError]) -> Iterable[str | FilmError]:
        """The same films, known to the archive's journal before they are read."""
        return self._archiving.files.to_do(films, resume=False)  # type: ignore[return-value]

    def add(self, result: Prediction | FilmError) -> None:
        """Take a film."""
        for outcome in self._archiving.add(result):
            if not isinstance(outcome, FilmError):
                self.tally.add(outcome)

    def flush(self) -> None:
        """Write what was taken."""
        for added in self._archiving.flush():
            self.tally.add(added)

    def finish(self) -> dict[str, object]:
        """Write all, fit the index, say what became of the films; gives it for a summary."""
        self.flush()
        self.archive.fit_index()
        self.tally.warn()
        films = len(self.archive)
        say(f"{self.archive.uri}: {self.tally}; {films} films in all")
        return {**self.tally.record(), "films": films}

    def has_films_of(self, results: Path) -> Callable[[Mapping[str, Any]], bool]:
        """Whether the archive has the film of a line of stored results."""
        lacking = not_archived(results, self.archive, self._uid_key)
        return lambda line: line["status"] != "ok" or line["film_id"] not in lacking


def archive_to_search(
    opened: ExitStack,
    model: EnsembleInfo,
    into: IntoArchive | None,
    uri: str | None,
    access: Access,
) -> SimilarityIndex:
    """Give the archive whose films a run's films are compared with.

    Args:
        opened: closes it.
        model: of the server.
        into: what films go into, which is searched then.
        uri: of the archive where they go into none.
        access: to it.

    Raises:
        ArchiveError: it is not there, or is another model's.
    """
    if into:
        return into.archive
    return opened.enter_context(
        SimilarityIndex(str(uri), model_digest=model.digest, create=False, **access)
    )


def open_archive(
    opened: ExitStack,
    model: EnsembleInfo,
    uri: str,
    access: Access,
    told: RunSummary,
    *,
    metadata: Mapping[str, FilmMetadata],
    hash_uids: bool,
    site: str | None,
    gate: bool,
) -> IntoArchive:
    """Open the archive that a run's films go into.

    Args:
        opened: closes it.
        model: that predicts.
        uri: of the archive.
        access: to its server.
        told: counts the run's films.
        metadata: film path → its row.
        hash_uids: as in Archiving.
        site: as in Archiving.
        gate: whether the client has it.
    """
    check_embedding_size(model.embedding_size)
    archive = opened.enter_context(SimilarityIndex(uri, model_digest=model.digest, **access))
    into = IntoArchive(
        archive,
        Tally(archive.uri, told),
        metadata=metadata,
        key=load_patient_key(),
        hash_uids=hash_uids,
        site=site,
        gate=gate,
    )
    return opened.enter_context(into)


def check_embedding_size(size: int) -> None:
    """Refuse embeddings that no archive can hold."""
    if size != EMBEDDING_SIZE:
        raise ArchiveMismatch(
            f"The server's embeddings have {size} numbers, but this archive needs {EMBEDDING_SIZE}."
        )


def say_what_labels_are(known: Mapping[str, FilmMetadata], films: int) -> None:
    """Say where the labels of an archive's new films are from."""
    true = sum(row.label is not None for row in known.values())
    if true == 0:
        say("Labels of new films are the model's predictions, not ground truth.")
    elif true < films:
        say("Films without a label in the metadata got the model's prediction as label.")
