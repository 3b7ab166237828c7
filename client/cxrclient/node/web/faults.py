"""What a caller over HTTP is told of a fault: JSON with a code, and no word of the request's."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from cxrclient.fates import FATES
from cxrclient.node.notes import NOTES

NOTICE = "Research use only: not for diagnosis."


def fault(status: int, code: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Make the answer.

    Args:
        status: of HTTP.
        code: of `NOTES` or `FATES`.
        headers: that it gets.
    """
    message, mend = NOTES[code] if code in NOTES else FATES[code]
    told = {"code": code, "message": message, "do": mend, "notice": NOTICE}
    return web.json_response(told, status=status, headers=headers)
