"""What is told of a run: `--summary FILE`, however it ends short of a kill -9, and on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxrclient.cli.terminal import say
from cxrclient.errors import CxrClientError
from cxrclient.films import FilmSearch
from cxrclient.runs import Outcome, RunSummary, write_summary
from cxrclient.wire import CxrClient


@contextmanager
def summarised(path: Path | None, told: RunSummary, client: CxrClient) -> Iterator[dict[str, Any]]:
    """Write the summary of what the block does, before films in flight are waited for.

    Yields:
        What else belongs into it; the block fills it in.

    Raises:
        ServerUnreachable: the server that should tell its version has gone.
        CxrClientError: the summary cannot be written.
    """
    more: dict[str, Any] = {}
    if path is None:
        yield more
        return
    version = client.server_version()
    outcome: Outcome = "failed"
    try:
        yield more
        outcome = "complete"
    except CxrClientError as error:
        more["error"] = str(error)
        raise
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    finally:
        record = told.record(
            outcome, model=client.model, traffic=client.traffic, server_version=version, more=more
        )
        write_summary(path, record)


def say_what_was_no_film(search: FilmSearch) -> None:
    """Say on stderr what was passed over, by kind and if asked for by name, and what is missing."""
    for path, kind in search.skipped.paths:
        say(f"Skipped: {path} ({kind})")
    if search.passed_over:
        say(f"Skipped in folders as no films: {search.passed_over} ({search.skipped}).")
    for pattern in search.unmatched:
        say(f"Nothing matches {pattern}.")


def search_record(search: FilmSearch) -> dict[str, Any]:
    """What a search passed over, for a summary."""
    return {
        "passed_over": search.passed_over,
        "passed_over_by_kind": dict(search.skipped.kinds),
        "unmatched": search.unmatched,
    }
