"""`cxrclient archive remove`: films out of an archive for good, as a patient may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes
from cxrclient.cli.options.archive import (
    Access,
    FilmFilter,
    Issuer,
    PatientNumber,
    Uri,
    patient_number,
    with_access,
)
from cxrclient.cli.terminal import counted, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrclient.archive import SimilarityIndex

_NAMED = 20
"""Ids that are named before the question; it counts all."""


@with_access
def remove(
    uri: Uri,
    film_id: Annotated[
        list[str] | None, typer.Option("--id", help="A film's id. Repeatable.")
    ] = None,
    patient: PatientNumber = None,
    issuer: Issuer = None,
    where: FilmFilter = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    *,
    access: Access,
) -> None:
    """Remove films for good: those with an --id, those of a --patient, or those of a --filter.

    The archive's file is rewritten, so that neither their ids nor their patients' keys are left in
    its bytes, or in the journal beside it. A Milvus server writes its segments anew, and deletes
    the old ones some hours later. Results, reports, exports and backups that name the films are not
    touched. If it is interrupted, run it again. The exit code is 3 if no film matches, an id is not
    there, or rows of the archive are damaged: those may be films that you want to remove. A
    --filter that names a column or a value that no film has is taken for misspelt: exit code 2.
    """
    with errors_as_exit_codes():
        from cxrclient.archive import SimilarityIndex, damaged_rows, remove as remove_films
        from cxrclient.errors import UsageError
        from cxrclient.runs import forget_films, journal_path

        if sum(given is not None for given in (film_id, patient, where)) != 1:
            raise UsageError("Say which films: give --id, or --patient, or --filter.")
        number = patient_number(patient)
        with SimilarityIndex(uri, model_digest=None, **access) as index:
            ids, unknown = _chosen(index, film_id, number, issuer or (), where)
            # Whose a damaged row is, no question about patients or columns can tell.
            damaged = damaged_rows(index, by_checksum=film_id is None)
            if damaged:
                say(f"{index.uri} has {counted(damaged, 'damaged row')}.", fg="yellow")
            for missing in unknown.values():
                say(f"There is no film {missing} in {index.uri}.", fg="yellow")
            if ids and not yes:
                named = "".join(f"\n  {one}" for one in ids[:_NAMED])
                more = f"\n  and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
                say(f"{counted(len(ids))} of {index.uri}:{named}{more}", lines=True)
                typer.confirm(f"Remove {counted(len(ids))} for good?", abort=True, err=True)
            # The journal first: once the archive has forgotten the films, nobody knows their ids.
            forget_films(journal_path(index.uri), [*ids, *unknown])
            removed = remove_films(index, ids)  # of none too: what an interrupted one left behind
            if damaged:  # some of them may be gone with the others
                damaged = damaged_rows(index, by_checksum=film_id is None)
            say(f"{index.uri}: {counted(removed)} removed, {len(index)} left.", err=False)
        if not ids and number is not None:
            say("No film is of this patient.")
        if removed:
            say(
                "Results, reports, exports and backups that name these films are not changed, and "
                "the next `index` of their files puts them in again."
            )
        if damaged:
            whose = "this patient's" if number is not None else "films that you want to remove"
            say(
                f"{counted(damaged, 'damaged row')} may be {whose}; `cxrclient archive verify "
                "--mend` takes damaged rows out.",
                fg="red",
            )
        raise typer.Exit(Exit.SOME_FILMS if unknown or damaged or not ids else Exit.OK)


def _chosen(
    index: SimilarityIndex,
    film_ids: Sequence[str] | None,
    number: str | None,
    issuers: Sequence[str],
    where: str | None,
) -> tuple[list[str], dict[str, str]]:
    """Ids of the films to remove, as the archive has them; and of those it has not, as typed."""
    from cxrclient.archive import (
        ids_as_kept,
        ids_matching,
        ids_of_patients,
        ids_there,
        patient_keys,
    )

    if film_ids is not None:
        typed = dict(zip(ids_as_kept(index, film_ids), film_ids, strict=True))
        there = ids_there(index, typed)
        return there, {kept: typed[kept] for kept in sorted(set(typed).difference(there))}
    if number is not None:
        return ids_of_patients(index, patient_keys(index, number, issuers)), {}
    _require_values(index, str(where))
    return ids_matching(index, str(where)), {}


def _require_values(index: SimilarityIndex, where: str) -> None:
    """Refuse a misspelt filter: beside an `or`, or with a !=, it names other films than are meant.

    The films may also be gone already: then what an interrupted removal left behind goes now.
    """
    from cxrclient.archive import damaged_rows, remove, require_values
    from cxrclient.errors import ArchiveInput

    index.columns.require((), where)
    try:
        require_values(index, {}, where)
    except ArchiveInput:
        if damaged := damaged_rows(index):
            say(
                f"{index.uri} has {counted(damaged, 'damaged row')}, which may be of films that "
                "you want to remove.",
                fg="yellow",
            )
        remove(index, ())
        raise
