"""`cxrclient similar`: the films of the archive nearest to one film."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxrclient.cli.exits import errors_as_exit_codes, with_options
from cxrclient.cli.options.archive import Access, Uri, with_access
from cxrclient.cli.options.pages import (
    ArchiveFilms,
    ArchiveMaps,
    Names,
    film_folder,
    neighbour_pictures,
)
from cxrclient.cli.options.piles import binary_stdin
from cxrclient.cli.options.server import Secured, Server, Timeout, open_client, with_secured
from cxrclient.cli.terminal import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrclient.archive import Filter, SimilarityIndex
    from cxrclient.cli.output.neighbours import SimilarFilms
    from cxrclient.wire import CxrClient, Prediction


@with_access
@with_secured
def similar(
    uri: Uri,
    film: Annotated[
        str | None, typer.Argument(help="A film: DICOM, PNG or JPEG.", show_default=False)
    ] = None,
    film_id: Annotated[
        str | None,
        typer.Option(
            "--id", help="In place of FILM, the id of a film in the archive. Needs no server."
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many films to find.")] = 4,
    view: Annotated[
        list[str] | None, typer.Option(help="Only this view: AP, PA. Repeatable.")
    ] = None,
    sex: Annotated[
        list[str] | None, typer.Option(help="Only this sex: F, M, O. Repeatable.")
    ] = None,
    age: Annotated[
        str | None, typer.Option(help="Only this age in years: 40-60, 40-, -60.")
    ] = None,
    days: Annotated[
        str | None,
        typer.Option(
            help="Only these days: 0-3, 0-, -3. They count from the patient's first film, or from "
            "what `offset_days` of the metadata counts from."
        ),
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Only this value of the column `source`. Repeatable.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only this label. Repeatable.")] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--filter",
            help="""A filter in Milvus's language: 'treatment == "oxygen" and icu_days > 3'.""",
        ),
    ] = None,
    same_patient: Annotated[
        bool, typer.Option("--same-patient", help="Include films of the same patient.")
    ] = False,
    all_films: Annotated[
        bool,
        typer.Option("--all-films", help="Include all films of a patient, not just the nearest."),
    ] = False,
    gate: Annotated[
        bool,
        typer.Option("--gate/--no-gate", help="Refuse a film that the server turns away."),
    ] = True,
    server: Server = None,
    output_format: Annotated[
        Literal["table", "jsonl"],
        typer.Option("--format", help="table is for people, jsonl for programs."),
    ] = "table",
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write a page with film, lungs, heatmap and nearest films."
        ),
    ] = None,
    archive_films: ArchiveFilms = None,
    archive_maps: ArchiveMaps = None,
    names: Names = True,
    *,
    secured: Secured,
    access: Access,
    timeout: Timeout = None,
) -> None:
    """Find the films nearest to one, by the Euclidean distance of their embeddings.

    The film itself and its patient are left out, and each other patient comes with the nearest
    film only. Beside the film's own prediction is the mean of its neighbours' predictions, as in
    the paper, and how much they disagree.
    """
    with errors_as_exit_codes():
        from dataclasses import replace

        from cxrclient.archive import (
            SimilarityIndex,
            asked_columns,
            importing_lightly,
            require_values,
        )
        from cxrclient.cli.options.filters import film_filters, filter_note
        from cxrclient.cli.output.neighbours import print_table
        from cxrclient.errors import UsageError
        from cxrclient.settings import client_settings

        if (film is None) == (film_id is None):
            raise UsageError("Give one film, or the --id of a film in the archive.")
        if html is not None:
            if film is None:
                raise UsageError("--html shows the film, so give a film, not an --id.")
            from cxrclient.pages import PageFilm, check_target, write_page

            check_target(html)
        filters = film_filters(view=view, sex=sex, source=source, label=label, age=age, days=days)
        ask = {"k": k, "one_per_patient": not all_films, "where": where, **filters}
        if film_id is not None:
            with SimilarityIndex(uri, model_digest=None, **access) as archive:
                archive.columns.require(filters, where)
                require_values(archive, filters, where)
                answer = _of_archive(archive, film_id, ask, same_patient=same_patient)
                if archive_films is not None:
                    folder = film_folder(archive, archive_films)
                    answer = replace(answer, files=folder.files([n.id for n in answer.neighbours]))
                unmet = _unmet(archive, answer, filters, where)
        else:
            with importing_lightly():
                from cxrclient.films import read_partial  # noqa: F401  # and with it pydicom
            settings = client_settings(server, None, timeout, **secured)
            with (
                open_client(settings, gate=gate, retry=False) as cxr,
                SimilarityIndex(
                    uri, model_digest=cxr.model.digest, create=False, **access
                ) as archive,
            ):
                archive.columns.require(filters, where)
                require_values(archive, filters, where)
                pictures = neighbour_pictures(cxr, archive, archive_films, archive_maps)
                prediction = _predicted(cxr, str(film), output_format, maps=html is not None)
                answer = _of_film(archive, cxr, prediction, ask, same_patient=same_patient)
                unmet = _unmet(archive, answer, filters, where)
                if html is not None:
                    found = pictures.of(prediction, answer.neighbours) if pictures else {}
                    page = PageFilm(prediction, answer.neighbours, found)
                    note = filter_note(filters, where)
                    write_page(
                        html, [page], cxr.model, title="Similar films", names=names, note=note
                    )
                if pictures and pictures.folder:
                    ids = [n.id for n in answer.neighbours]
                    answer = replace(answer, files=pictures.folder.files(ids))
        answer = replace(answer, columns=asked_columns(filters, where))
        if output_format == "jsonl":
            typer.echo(json.dumps(answer.record()))
        else:
            print_table(answer)
            for code in answer.query.get("warnings", ()):
                say(f"{film}: {code}", fg="yellow")
            if film and answer.left_out:
                say(f"{film} is in the archive too. It was left out.")
        if unmet:
            say(unmet, fg="yellow")
        if len(answer.neighbours) < k:
            say(_too_few(len(answer.neighbours), k, narrowed=bool(filters or where)))


def _predicted(cxr: CxrClient, film: str, output_format: str, *, maps: bool) -> Prediction:
    from cxrclient.errors import FilmError, UsageError
    from cxrclient.films import FilmSearch

    source: str | FilmError = film
    if not Path(film).is_dir():  # reading it says what is wrong
        # It may be in a zip, or come on stdin.
        search = FilmSearch([], listed=[film], stdin=binary_stdin() if film == "-" else None)
        found = list(islice(search, 2))
        if len(found) != 1:
            which = f"several films. Name one of them, such as {found[0]}" if found else "no film"
            raise UsageError(f"{film} has {which}.")
        (source,) = found
    try:
        if isinstance(source, FilmError):
            raise source
        return cxr.predict(source, maps=maps)
    except FilmError as error:
        if output_format == "jsonl":
            typer.echo(json.dumps(with_options(error).record()))
        raise


def _of_film(
    archive: SimilarityIndex,
    cxr: CxrClient,
    prediction: Prediction,
    ask: Mapping[str, Any],
    *,
    same_patient: bool,
) -> SimilarFilms:
    from cxrclient.archive import own_films
    from cxrclient.cli.output.neighbours import SimilarFilms

    model = cxr.model
    own = own_films(archive, prediction)
    if own.doubt and not same_patient:
        say(own.doubt, fg="yellow")
    neighbours = archive.search(
        prediction.embedding,
        exclude=own.ids,
        exclude_patients=() if same_patient else own.patients,
        **ask,
    )
    positive = model.labels[1]
    return SimilarFilms(
        f"{prediction.path}: {prediction.label}, p({positive}) {prediction.probability:.3f}",
        prediction.record(),
        neighbours,
        own.ids,
        positive,
        model.threshold,
        model.notice,
    )


def _of_archive(
    archive: SimilarityIndex, film_id: str, ask: Mapping[str, Any], *, same_patient: bool
) -> SimilarFilms:
    from cxrclient.cli.output.neighbours import SimilarFilms

    neighbours = archive.search_id(film_id, same_patient=same_patient, **ask)
    (film,) = archive.films([film_id])
    known = "" if film.probability is None else f", p {film.probability:.3f}"
    return SimilarFilms(
        f"{film_id}: {film.label or 'no label'} ({film.label_source or 'no source'}){known}",
        {"id": film_id, **film.about()},
        neighbours,
        [film_id],
        None,
        0.5,
        "Research use only: not for diagnosis.",
    )


def _unmet(
    archive: SimilarityIndex, answer: SimilarFilms, filters: Mapping[str, Filter], where: str | None
) -> str:
    from cxrclient.archive import why_empty

    narrowed = filters or where
    return why_empty(archive, filters, where) if narrowed and not answer.neighbours else ""


def _too_few(found: int, k: int, *, narrowed: bool) -> str:
    such = " that match" if narrowed else ""
    return (
        f"The archive has only {found} other films{such}, not {k}. (Only the nearest film of each "
        "patient counts, without --all-films; the film's own patient does not, without "
        "--same-patient.)"
    )
