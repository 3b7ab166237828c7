"""STOW-RS: the films of a request into the spool, each with a fate of its own.

A request is read to its end before any of its films is taken, into a file without a name: whatever
ends the request, or the node, in the middle leaves nothing behind.

Source: DICOM PS3.18 section 10.5 (Store), and annex I (its answer).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from email.message import Message
from typing import IO, Any

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http import HttpProcessingError

from cxrclient.films import MAX_FILE_BYTES
from cxrclient.node.receive.intake import Receipt, take_in
from cxrclient.node.spool.records import STOW, NoRoom
from cxrclient.node.spool.spool import Spool
from cxrclient.node.web.access import Access, Refused

SILENT_S = 30.0
"""A sender that says nothing for so long, in the middle of a request, is let go."""
RETRY_AFTER_S = 30
MAX_REQUEST_BYTES = 2 * MAX_FILE_BYTES
MAX_FILMS = 1000
_PIECE = 1 << 18
_BOUNDARY_MOST = 200
_LOOK_BYTES = 1 << 24  # so often it is looked whether there is room on the disk
# Failure reasons. Source: DICOM PS3.18 annex I.2.2, and PS3.4 annex B.2.3.
_NO_ROOM, _NO_SUCH_CLASS, _NOT_UNDERSTOOD, _FAILED = 0xA700, 0x0122, 0xC000, 0x0110
_REASONS = {"NOT_A_FILM": _NO_SUCH_CLASS, "INTERNAL": _FAILED}
_BROKEN = (
    ValueError,
    AssertionError,
    ConnectionError,
    asyncio.IncompleteReadError,
    HttpProcessingError,
    web.RequestPayloadError,
)
"""What aiohttp raises where a body ends early, or is no multipart."""


class _Reader(MultipartReader):
    """Reads boundaries longer than RFC 2046 allows (70): those of Orthanc 1.10 have 73."""

    def _get_boundary(self) -> str:
        return self._mimetype.parameters["boundary"]


class Store:
    """Takes what senders store over HTTP.

    Args:
        spool: which films go into.
        access: who may store.
        pool: whose threads read, write and wait for the disk.
    """

    def __init__(self, spool: Spool, access: Access, pool: Executor) -> None:
        self._spool, self._access, self._pool = spool, access, pool
        self.taking = True
        self.reading = 0  # requests of which the first bytes are here, and not yet the last ones

    async def films(self, request: web.Request) -> web.Response:
        """Store the films of a request.

        Raises:
            Refused: none of them, because of the request or for lack of room.
        """
        sender = f"{STOW}{request.remote or ''}"
        try:
            self._access.require_sender(request.headers.get("Authorization"))
            _require_multipart(request)
            if not self.taking:
                raise _later("NODE_ENDS")
            await self._require_room()
            with tempfile.TemporaryFile(dir=self._spool.folder) as file:
                spans = await self._read(request, file)
                receipts = [
                    await self._do(self._take, file, span, sender, request.match_info.get("study"))
                    for span in spans
                ]
        except Refused as error:
            await self._do(self._note, error.code, sender)
            raise
        except OSError as error:  # the disk was full before its last reserve
            await self._do(self._note, "SPOOL_FAILED", sender)
            raise _later("SPOOL_FAILED") from error
        return _answer(receipts)

    def _note(self, code: str, sender: str) -> None:
        self._spool.note(code, sender=sender)

    def _take(
        self, file: IO[bytes], span: tuple[int, int], sender: str, study: str | None
    ) -> Receipt:
        file.seek(span[0])
        return take_in(self._spool, file.read(span[1]), sender, study=study)

    async def _require_room(self) -> None:
        try:
            await self._do(self._spool.require_room)
        except NoRoom as error:
            raise _later(error.code) from error

    async def _read(self, request: web.Request, file: IO[bytes]) -> list[tuple[int, int]]:
        """Read a request to its end; gives start and size of each film in the file."""
        spans: list[tuple[int, int]] = []
        self.reading += 1
        try:
            reader = _Reader(request.headers, request.content)
            while (part := await _soon(reader.next())) is not None:
                if not isinstance(part, BodyPartReader):
                    raise Refused(400, "NOT_MULTIPART", Connection="close")
                if len(spans) == MAX_FILMS:
                    raise Refused(413, "REQUEST_TOO_LARGE", Connection="close")
                start = spans[-1][0] + spans[-1][1] if spans else 0
                spans.append((start, await self._read_film(part, file, start)))
        except TimeoutError as error:
            raise Refused(408, "TRANSFER_ABORTED", Connection="close") from error
        except _BROKEN as error:
            raise Refused(400, "TRANSFER_ABORTED", Connection="close") from error
        finally:
            self.reading -= 1
        if not spans:
            raise Refused(400, "NOT_MULTIPART")
        return spans

    async def _read_film(self, part: BodyPartReader, file: IO[bytes], start: int) -> int:
        size = looked = 0
        while not part.at_eof():
            piece = await _soon(part.read_chunk(_PIECE))
            size += len(piece)
            if size > MAX_FILE_BYTES or start + size > MAX_REQUEST_BYTES:
                raise Refused(413, "REQUEST_TOO_LARGE", Connection="close")
            await self._do(file.write, piece)
            if start + size - looked > _LOOK_BYTES:
                looked = start + size
                await self._require_room()
        return size

    async def _do(self, work: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *values)


def _require_multipart(request: web.Request) -> None:
    header = Message()
    header["Content-Type"] = request.headers.get("Content-Type", "")
    of = str(header.get_param("type", "application/dicom")).lower()
    if (header.get_content_type(), of) != ("multipart/related", "application/dicom"):
        raise Refused(415, "NOT_MULTIPART")
    if not 0 < len(header.get_boundary("")) <= _BOUNDARY_MOST:
        raise Refused(400, "NOT_MULTIPART")
    if (request.content_length or 0) > MAX_REQUEST_BYTES:
        raise Refused(413, "REQUEST_TOO_LARGE", Connection="close")


async def _soon(awaited: Any) -> Any:
    async with asyncio.timeout(SILENT_S):
        return await awaited


def _later(code: str) -> Refused:
    return Refused(503, code, Retry_After=str(RETRY_AFTER_S))


def _answer(receipts: Sequence[Receipt]) -> web.Response:
    refused = [each for each in receipts if each.state == "refused"]
    taken = [each for each in receipts if each.state != "refused"]
    headers = {}
    status = 202 if taken and refused else 200 if taken else 409
    if not taken and all(each.retriable for each in refused):
        status, headers = 503, {"Retry-After": str(RETRY_AFTER_S)}
    retrieve = {"00081190": {"vr": "UR"}}  # Retrieve URL, type 2: nothing is given out again
    answer: dict[str, Any] = dict(retrieve)
    if taken:
        items = [{**_named(each), **retrieve} for each in taken]
        answer["00081199"] = {"vr": "SQ", "Value": items}
    named = [each for each in refused if each.sop_class and each.uid]
    if named:
        items = [{**_named(each), **_reason(each)} for each in named]
        answer["00081198"] = {"vr": "SQ", "Value": items}
    if len(named) < len(refused):  # Other Failures Sequence: of what does not say what it is
        items = [_reason(each) for each in refused if each not in named]
        answer["0008119A"] = {"vr": "SQ", "Value": items}
    # dicomweb-client 0.61 takes no answer whose type has a charset.
    headers["Content-Type"] = "application/dicom+json"
    return web.Response(body=json.dumps(answer).encode(), status=status, headers=headers)


def _named(receipt: Receipt) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [receipt.sop_class]},
        "00081155": {"vr": "UI", "Value": [receipt.uid]},
    }


def _reason(receipt: Receipt) -> dict[str, Any]:
    other = _NO_ROOM if receipt.retriable else _NOT_UNDERSTOOD
    reason = _REASONS.get(str(receipt.code), other)
    return {"00081197": {"vr": "US", "Value": [reason]}}
