"""`cxrclient archive export` and `import`: the ways in and out, and back from a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrclient.cli.exits import errors_as_exit_codes
from cxrclient.cli.options.archive import Access, Uri, with_access
from cxrclient.cli.signals import sigterm_as_interrupt
from cxrclient.cli.terminal import say


@with_access
def export_(
    file: Annotated[Path, typer.Argument(help="Parquet file to write.", show_default=False)],
    uri: Uri,
    *,
    access: Access,
) -> None:
    """Write all films to a Parquet file: a backup, which `archive import` brings back.

    Each page of the file has a checksum, so that a copy with a flipped bit is refused. The patient
    key is not in it: keep both, apart. Guard the file like the archive.
    """
    with errors_as_exit_codes():
        from cxrclient.archive import SimilarityIndex, check_name, export_parquet

        check_name(file)
        with SimilarityIndex(uri, model_digest=None, **access) as index:
            films = export_parquet(index, file)
            has_key = index.key_check() is not None
        say(f"{file}: {films} films", err=False)
        if has_key:
            say("The patient key is not in it. Keep a copy of the key too, in another place.")


@with_access
def import_(
    file: Annotated[
        Path, typer.Argument(help="Parquet file of `archive export`.", show_default=False)
    ],
    uri: Uri,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace films that are in the archive.")
    ] = False,
    *,
    access: Access,
) -> None:
    """Put the films of a Parquet file into an archive of the same model, or a new one.

    Films that are in the archive stay as they are, so an interrupted import is simply run again.
    Into a new archive it brings the one that was exported back, with the same neighbours.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        from cxrclient.archive import (
            Added,
            SimilarityIndex,
            has_its_key,
            import_parquet,
            model_digest,
        )

        digest = model_digest(file)
        done = Added(0, 0)
        with SimilarityIndex(uri, model_digest=digest, **access) as index:
            try:
                for some in import_parquet(index, file, overwrite=overwrite):
                    done += some
                index.fit_index()
                if index.key_check() is not None and not has_its_key(index):
                    say(
                        "The patient key of these films is not here. Searches work; before more "
                        "films are indexed, bring the key back: CXR_PATIENT_KEY, or the file in "
                        "CXR_PATIENT_KEY_FILE.",
                        fg="yellow",
                    )
            finally:
                say(
                    f"{index.uri}: {done.added} added, {done.already_there} already there",
                    err=False,
                )
