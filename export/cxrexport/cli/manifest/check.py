"""`cxrexport manifest check`: what is wrong with a table of films, and what the study left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli import bar_columns, console, say
from cxrclient.files import fault_lines, write_whole
from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.errors import ManifestError

if TYPE_CHECKING:
    from cxrexport.manifest.review import Review


def check(
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="The manifest.")],
    root: Annotated[
        Path | None, typer.Option(help="The folder that the manifest's paths are relative to.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="NEG,POS", help="The two labels that are allowed; any by default."),
    ] = None,
    need_masks: Annotated[
        bool, typer.Option("--need-masks", help="Every film must have a lung mask.")
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write all findings to this file too."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="CLEAN.csv",
            help="Write the manifest without the films that are listed.",
        ),
    ] = None,
) -> None:
    """Find all problems of all rows at once, and the films that the study would have left out.

    Problems: cells that cannot be read, missing or damaged films, the same film in two rows (even
    in two encodings), a patient in two splits, a split without a class, masks that do not fit.
    Left out by the study: lateral views (known from the header or the column view, not guessed from
    pixels), and films with rectangles of one value over the picture.

    Exit code 0: nothing found, or --output left out everything that was found. 2: problems; then
    --output is not written. 3: no problem, but films that the study would have left out.
    """
    with errors_as_exit_codes():
        from cxrclient.files import MemoryUse, keep_freed_memory
        from cxrexport.manifest import write_manifest

        # A film of 1955x1841 takes 29 ms of a core with it, 46 without.
        keep_freed_memory(MemoryUse.TENSORS)
        known = None if labels is None else _two_labels(labels)
        review = _review(csv, root, known, need_masks)
        _print_review(review)
        if json_file is not None:
            _write_json(review, json_file)
        if review.problems:
            raise ManifestError(
                f"{csv}: {len(review.problems)} problem(s), listed above"
                + (f"; fix them first. {output} is not written." if output else ".")
            )
        if output is not None:
            write_manifest(review.kept, output)
            say(
                f"{len(review.kept)} films written to {output}; "
                f"{len(review.rows) - len(review.kept)} left out."
            )
    if review.exclusions and output is None:
        raise typer.Exit(3)


def _two_labels(text: str) -> tuple[str, ...]:
    labels = tuple(part.strip() for part in text.split(","))
    if len(labels) != 2 or not all(labels) or labels[0] == labels[1]:
        raise ManifestError(f"--labels takes two names, NEGATIVE,POSITIVE; not {text!r}")
    return labels


def _review(
    csv: Path, root: Path | None, labels: tuple[str, ...] | None, need_masks: bool
) -> Review:
    from rich.progress import Progress

    from cxrexport.manifest.review import review_manifest

    with Progress(*bar_columns(), console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("Looking into every film", total=None)
        return review_manifest(
            csv,
            root=root,
            labels=labels,
            need_mask=need_masks,
            advance=lambda films: progress.update(task, total=films, advance=1),
        )


def _print_review(review: Review) -> None:
    for line in fault_lines(review.problems):
        say(line, err=False)
    for row, exclusions in review.exclusions:
        for exclusion in exclusions:
            column = "view" if exclusion.code == "LATERAL_VIEW" else "image"
            say(
                f"{review.path}:{row.row}: {column}: {exclusion.code}: {exclusion.what} "
                f"({row.image.name})",
                err=False,
            )
    films = len(review.rows)
    say(f"{films} films, {len(review.problems)} problems", err=False)
    reasons = ", ".join(f"{code} {count}" for code, count in review.reasons().items())
    if review.exclusions:
        say(
            f"{len(review.exclusions)} films that the study would have left out: {reasons}",
            err=False,
        )
    else:
        say("No film that the study would have left out was found.", err=False)
    if review.rows and not any(row.split for row in review.rows):
        say(
            "The films have no splits: `cxrexport train` draws them by patient and keeps them in "
            "the run, or `cxrexport manifest split` writes them.",
            err=False,
        )
    if review.view_unknown:
        say(
            f"The view of {review.view_unknown} films is unknown, and is not guessed from pixels. "
            "Look at them: some may be lateral.",
            err=False,
        )


def _write_json(review: Review, path: Path) -> None:
    try:
        write_whole(path, json.dumps(review.to_json(), indent=2) + "\n", secret=True)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be written ({error.strerror or error})") from error
