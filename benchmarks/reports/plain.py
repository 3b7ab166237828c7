"""Any result → tables: a result of an older or newer script is shown plainly rather than not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reports.tables import NONE, Table, digits


def plain_tables(result: dict[str, Any]) -> list[Table]:
    """Whatever lists of records a result holds: a table each, a column a key."""
    return [_records(name, records) for name, records in _lists("", result)]


def _lists(name: str, value: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key != "machine":
                yield from _lists(f"{name}, {key}".removeprefix(", "), item)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        yield name, value


def _records(name: str, records: list[dict[str, Any]]) -> Table:
    columns = list(dict.fromkeys(key for record in records for key in record))
    plain = [
        key for key in columns if not any(isinstance(r.get(key), dict | list) for r in records)
    ]
    rows = [[_text(record.get(key)) for key in plain] for record in records]
    return Table(name, [key.replace("_", " ") for key in plain], rows)


def _text(value: Any) -> str:
    if value is None:
        return NONE
    return digits(value) if isinstance(value, float) else str(value)
