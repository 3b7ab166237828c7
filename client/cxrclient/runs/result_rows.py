"""What is written of a film, as one flat row: the columns, their order and their kinds.

A line of JSON nests some of it (`Prediction.record`); CSV, a DataFrame and Parquet have the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cxrclient.errors import FilmError
from cxrclient.wire import Prediction, failure_record

if TYPE_CHECKING:
    import pandas as pd

_PICTURES = ("mask", "overlay")
# Kinds of pandas that can be missing: a film that failed has no votes.
_KINDS = {str: "string", float: "float64", int: "Int64", bool: "boolean", list: "object"}


def result_columns(members: Sequence[str]) -> dict[str, type]:
    """Give each column's name and kind, in order; any value may be missing.

    Args:
        members: of the ensemble, as `EnsembleInfo.members` names them; a column each.
    """
    return {
        "path": str,
        "status": str,
        "film_id": str,
        "probability": float,
        "label": str,
        **dict.fromkeys(members, float),
        "votes": int,
        "lung_fraction": float,
        "flags": list,
        "warnings": list,
        "model_name": str,
        "model_digest": str,
        "latency_ms": float,
        "code": str,
        "message": str,
        "retriable": bool,
        **dict.fromkeys(_PICTURES, str),
    }


def result_record(
    result: Prediction | FilmError,
    pictures: Mapping[str, str] | None = None,
    *,
    embedding: bool = False,
) -> dict[str, Any]:
    """Give a film's result as plain JSON values: a line of JSON.

    Args:
        result: of the film.
        pictures: `mask`, `overlay` and `maps`: where they were written.
        embedding: whether the embedding is there too.
    """
    record = (
        failure_record(result)
        if isinstance(result, FilmError)
        else result.record(embedding=embedding)
    )
    return {**record, **(pictures or {})}


def result_row(record: Mapping[str, Any], members: Sequence[str]) -> dict[str, Any]:
    """Make one row of a record, or of a line of JSON that was read back.

    Args:
        record: as `result_record` gives it; what has no column is left out.
        members: as for `result_columns`; one that the record does not have stays empty.

    Returns:
        Every column, in order; None where the record does not say.
    """
    model = record.get("model") or {}
    told = {
        **record,
        **record.get("members", {}),
        "model_name": model.get("name"),
        "model_digest": model.get("digest"),
    }
    return {name: told.get(name) for name in result_columns(members)}


def to_dataframe(
    results: Iterable[Prediction | FilmError], *, embedding: bool = False
) -> pd.DataFrame:
    """Make a table of pandas: a row a film, in order, and those that failed are rows too.

    Args:
        results: as `CxrClient.predict_many` gives them; read once, and their maps are not kept.
        embedding: whether there is a column `embedding`, an array of float32 [128] a film.

    Returns:
        The columns of `result_columns` but for the files of pictures, with one for each member
        that a film of these has; what a film does not have is missing.
    """
    import pandas as pd

    records, vectors = [], []
    for result in results:
        records.append(result_record(result))
        vectors.append(getattr(result, "embedding", None) if embedding else None)
    members = list(dict.fromkeys(name for each in records for name in each.get("members", ())))
    rows = [result_row(each, members) for each in records]
    table = pd.DataFrame(
        {
            name: pd.Series([row[name] for row in rows], dtype=_KINDS[kind])
            for name, kind in result_columns(members).items()
            if name not in _PICTURES
        }
    )
    return table.assign(embedding=pd.Series(vectors, dtype="object")) if embedding else table
