"""`cxrclient similar`: the films of the archive nearest to one film."""

from __future__ import annotations

import enum
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrclient.cli.exits import errors_as_exit_codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrclient.index import Neighbour, SimilarityIndex
    from cxrclient.prediction import EnsembleInfo, Prediction


class Format(enum.StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSONL = "jsonl"


def similar(
    film: Annotated[str, typer.Argument(help="A film: DICOM, PNG or JPEG.", show_default=False)],
    uri: Annotated[
        str,
        typer.Option(
            help="The archive: a file ending in .db, or http(s)://HOST:PORT of a Milvus server.",
            show_default=False,
        ),
    ],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many films.")] = 4,
    server: Annotated[
        str | None,
        typer.Option(help="HOST:PORT (gRPC); else CXR_SERVER.", show_default="localhost:8001"),
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="For people or programs.")] = (
        Format.TABLE
    ),
    token: Annotated[
        str | None,
        typer.Option(envvar="CXR_MILVUS_TOKEN", help="For a Milvus server that asks for one."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds that the film may take; else CXR_TIMEOUT_S.", show_default="120"
        ),
    ] = None,
) -> None:
    """Find the films nearest to one, by the Euclidean distance of their embeddings.

    The film itself is left out where the archive has it. Beside the film's own prediction stands
    the mean of its neighbours' predictions, as in the paper.
    """
    with errors_as_exit_codes():
        from cxrclient.client import CxrClient
        from cxrclient.errors import FilmError
        from cxrclient.index import SimilarityIndex
        from cxrclient.prediction import failure_record
        from cxrclient.settings import client_settings

        settings = client_settings(server, None, timeout)
        with (
            CxrClient(settings.server, timeout_s=settings.timeout_s) as cxr,
            SimilarityIndex(
                uri, model_digest=cxr.model.digest, token=token, create=False
            ) as archive,
        ):
            try:
                prediction = cxr.predict(film)
            except FilmError as error:
                if output_format is Format.JSONL:
                    typer.echo(json.dumps(failure_record(error)))
                raise
            left_out = archive.known([_id_in(archive, prediction.film_id)])
            neighbours = archive.search(prediction.embedding, k, exclude=left_out)
            model = cxr.model
        if output_format is Format.JSONL:
            typer.echo(json.dumps(_record(prediction, neighbours, left_out, model)))
        else:
            _print_table(prediction, neighbours, model)
            if left_out:
                typer.echo(f"{film} is in the archive itself, and was left out.", err=True)
        if len(neighbours) < k:
            typer.echo(f"The archive has {len(neighbours)} other films, not {k}.", err=True)


def _id_in(archive: SimilarityIndex, film_id: str) -> str:
    """The id that the film has in the archive, if it is there."""
    if not archive.has_hashed_ids():
        return film_id
    from cxrclient.identity import hashed_uid, load_patient_key

    return hashed_uid(film_id, load_patient_key(make=False))


def _record(
    prediction: Prediction, neighbours: Sequence[Neighbour], left_out: set[str], model: EnsembleInfo
) -> dict[str, Any]:
    from cxrclient.index import mean_probability

    return prediction.record() | {
        "neighbours": [
            {
                "id": n.id,
                "distance": n.distance,
                "label": n.label,
                "label_source": n.label_source,
                "probability": n.probability,
                "patient_key": n.patient_key,
                "metadata": dict(n.metadata),
            }
            for n in neighbours
        ],
        "mean_probability": mean_probability(neighbours),
        "left_out": sorted(left_out),
        "notice": model.notice,
    }


def _print_table(
    prediction: Prediction, neighbours: Sequence[Neighbour], model: EnsembleInfo
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cxrclient.index import mean_probability

    positive = f"p({model.labels[1]})"
    table = Table(
        title=Text(
            f"{prediction.path}: {prediction.label}, {positive} {prediction.probability:.3f}"
        ),
        caption=Text(_caption(mean_probability(neighbours), positive, model)),
        title_justify="left",
        caption_justify="left",
    )
    for name, justify in (("", "right"), ("distance", "right"), (positive, "right")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name in ("label", "label from"):
        table.add_column(name, no_wrap=True)
    table.add_column("patient key", overflow="fold")
    table.add_column("id", overflow="fold")
    for rank, n in enumerate(neighbours, 1):
        table.add_row(
            str(rank),
            f"{n.distance:.3f}",
            "" if n.probability is None else f"{n.probability:.3f}",
            Text(n.label or ""),
            n.label_source or "",
            Text((n.patient_key or "")[:8]),
            Text(n.id),
        )
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False, emoji=False).print(table)


def _caption(mean: float | None, positive: str, model: EnsembleInfo) -> str:
    known = "" if mean is None else f"Mean {positive} of these films: {mean:.3f}\n"
    return known + model.notice
