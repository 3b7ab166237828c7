"""What became of films, page by page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from cxrclient.node.spool.rows import Rows
from cxrclient.node.web.access import Refused

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000

_PAGE = """
SELECT seq, uid, study_uid, received_at, finished_at, state, status, code, probability, positive,
    model, json_extract(outcome, '$.record.label') AS label,
    json_extract(outcome, '$.record.members') AS members
FROM films WHERE seq IN (
    SELECT seq FROM films WHERE finished_at >= ? AND finished_at < ? AND seq > ?
    ORDER BY seq LIMIT ?)
ORDER BY seq
"""
_DELIVERIES = """
SELECT uid, target, state, code, delivered_at FROM deliveries
WHERE uid IN (SELECT value FROM json_each(?)) ORDER BY target
"""


def page(rows: Rows, query: Mapping[str, str]) -> dict[str, Any]:
    """Give a page of results, in the order in which films were finished.

    Args:
        rows: of the spool.
        query: of the URL, with names that stand there twice: `after`, the `next` of the page
            before; `limit`; `from` and `to`, days by the node's clock (YYYY-MM-DD, both included)
            on which films were finished.

    Returns:
        `results`, and `next`: where the page after begins; None where this is the last for now.
        A film that is tried again gets a new place at the end.

    Raises:
        Refused: 400, `USAGE`.
    """
    unknown = set(query) - {"after", "limit", "from", "to"}
    try:
        if unknown or len(set(query)) < len(query):
            raise ValueError
        after = _number(query.get("after", "0"))
        limit = _number(query.get("limit", str(DEFAULT_LIMIT)))
        since = _day_starts(query["from"]) if "from" in query else 0.0
        until = _day_starts(query["to"], days=1) if "to" in query else 1e12
        if after >= 1 << 63 or not 1 <= limit <= MAX_LIMIT:
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise Refused(400, "QUERY_WRONG") from error
    found = [dict(row) for row in rows.all(_PAGE, since, until, after, limit + 1)]
    more, found = len(found) > limit, found[:limit]
    sent: dict[str, dict[str, Any]] = {}
    for row in rows.all(_DELIVERIES, json.dumps([each["uid"] for each in found])):
        told = {"state": row["state"], "code": row["code"], "at": _moment(row["delivered_at"])}
        sent.setdefault(row["uid"], {})[row["target"]] = told
    return {
        "results": [_result(each, sent.get(each["uid"], {})) for each in found],
        "next": found[-1]["seq"] if more else None,
    }


def _result(row: Mapping[str, Any], deliveries: Mapping[str, Any]) -> dict[str, Any]:
    positive, members = row["positive"], row["members"]
    return {
        "seq": row["seq"],
        "film_uid": row["uid"],
        "study_uid": row["study_uid"],
        "received_at": _moment(row["received_at"]),
        "finished_at": _moment(row["finished_at"]),
        "state": row["state"],
        "status": row["status"],
        "code": row["code"],
        "probability": row["probability"],
        "positive": None if positive is None else bool(positive),
        "label": row["label"],
        "members": None if members is None else json.loads(members),
        "model_digest": row["model"],
        "deliveries": deliveries,
    }


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,19}", text):  # int() takes "1_0" and signs
        raise ValueError
    return int(text)


def _day_starts(day: str, days: int = 0) -> float:
    """When a day begins by this machine's clock, or some days later."""
    start = date.fromisoformat(day)  # weeks, and days without hyphens, too
    if start.isoformat() != day:
        raise ValueError
    start += timedelta(days=days)
    return datetime(start.year, start.month, start.day).astimezone().timestamp()


def _moment(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")
