"""What is written of a film, as one flat row: the columns, their order and their kinds.

A line of JSON nests some of it (`Prediction.record`); CSV, a DataFrame and Parquet have the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxrclient.errors import FilmError
from cxrclient.wire import Prediction, failure_record


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
        "mask": str,
        "overlay": str,
    }


def result_record(
    result: Prediction | FilmError, pictures: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Give a film's result as plain JSON values: a line of JSON.

    Args:
        result: of the film.
        pictures: `mask` and `overlay`: where they were written.
    """
    record = failure_record(result) if isinstance(result, FilmError) else result.record()
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
