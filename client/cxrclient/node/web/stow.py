"""STOW-RS: the films of a request into the spool, each with a fate of its own.

A request is read to its end before any of its films is taken, into a file without a name or, while
the disk has no room, into memory: whatever ends the request, or the node, in the middle leaves
nothing behind.

Source: DICOM PS3.18 section 10.5 (Store), and annex I (its answer).
"""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http import HttpProcessingError

from cxrclient.films import MAX_FILE_BYTES
from cxrclient.node.receive.intake import Receipt, take_in
from cxrclient.node.spool.records import STOW, NoRoom
from cxrclient.node.spool.spool import Spool
from cxrclient.node.web.access import Access, Refused
from cxrclient.node.web.callers import SILENT_S

SLOWEST_BYTES_S = 32_768
"""Who sends less than this for 30 s is let go as if silent: 256 kbit/s."""
RETRY_AFTER_S = 30
MAX_REQUEST_BYTES = 2 * MAX_FILE_BYTES
MAX_FILMS = 1000
_PIECE = 1 << 18
_BOUNDARY_MOST = 200
_LOOK_BYTES = 1 << 24  # so often it is looked whether there is room on the disk
_SMALL_BYTES, _MOST_SMALL = 1 << 24, 4  # requests read into memory while the disk has no room
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


@dataclass(frozen=True)
class _Place:
    """Where a request is read to; with a code, memory, because the disk has no room."""

    file: IO[bytes]
    code: str | None = None


class _Patience:
    """How long a sender is waited for: each byte buys it time, up to 30 s; ours costs nothing."""

    def __init__(self) -> None:
        self._left_s = SILENT_S

    def hear(self, size: int) -> None:
        """Count bytes that have come."""
        self._left_s = min(self._left_s + size / SLOWEST_BYTES_S, SILENT_S)

    async def wait_for(self, awaited: Awaitable[Any]) -> Any:
        """Wait for the sender.

        Raises:
            TimeoutError: it is silent, or too slow.
        """
        loop = asyncio.get_running_loop()
        since = loop.time()
        async with asyncio.timeout(self._left_s):
            got = await awaited
        self._left_s -= loop.time() - since
        return got


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
        self._small = 0
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
            async with self._place() as place:
                spans = await self._read(request, place)
                receipts = [
                    await self._do(
                        self._take, place.file, span, sender, request.match_info.get("study")
                    )
                    for span in spans
                ]
        except Refused as error:
            await self._do(self._note, error.code, sender)
            raise
        except OSError as error:  # the disk was full before its last reserve
            code = NoRoom.of(error).code
            await self._do(self._note, code, sender)
            raise _later(code) from error
        if all(each.state == "refused" and each.retriable for each in receipts):
            raise _later(str(receipts[0].code))
        return _answer(receipts)

    def _note(self, code: str, sender: str) -> None:
        self._spool.note(code, sender=sender)

    def _take(
        self, file: IO[bytes], span: tuple[int, int], sender: str, study: str | None
    ) -> Receipt:
        file.seek(span[0])
        return take_in(self._spool, file.read(span[1]), sender, study=study)

    async def _no_room(self) -> str | None:
        """Why nothing may be written, if so; a full queue forbids only films that are new."""
        try:
            await self._do(self._spool.require_room)
        except NoRoom as error:
            return None if error.code == "QUEUE_FULL" else error.code
        return None

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[_Place]:
        """Where a request is read to: a film that is here already is known once it is read.

        Without room on the disk that is memory, for some small requests at a time.
        """
        code = await self._no_room()
        if code is None:
            with tempfile.TemporaryFile(dir=self._spool.folder) as file:
                yield _Place(file)
            return
        if self._small >= _MOST_SMALL:
            raise _later(code)
        self._small += 1
        try:
            yield _Place(io.BytesIO(), code)
        finally:
            self._small -= 1

    async def _read(self, request: web.Request, place: _Place) -> list[tuple[int, int]]:
        """Read a request to its end; gives start and size of each film in its place."""
        if place.code is not None and (request.content_length or 0) > _SMALL_BYTES:
            raise _later(place.code)
        patience = _Patience()
        spans: list[tuple[int, int]] = []
        self.reading += 1
        try:
            reader = _Reader(request.headers, request.content)
            while (part := await patience.wait_for(reader.next())) is not None:
                if not isinstance(part, BodyPartReader):
                    raise Refused(400, "NOT_MULTIPART", Connection="close")
                if len(spans) == MAX_FILMS:
                    raise Refused(413, "REQUEST_TOO_LARGE", Connection="close")
                start = spans[-1][0] + spans[-1][1] if spans else 0
                spans.append((start, await self._read_film(part, place, start, patience)))
        except TimeoutError as error:
            raise Refused(408, "TRANSFER_ABORTED", Connection="close") from error
        except _BROKEN as error:
            raise Refused(400, "TRANSFER_ABORTED", Connection="close") from error
        finally:
            self.reading -= 1
        if not spans:
            raise Refused(400, "NOT_MULTIPART")
        return spans

    async def _read_film(
        self, part: BodyPartReader, place: _Place, start: int, patience: _Patience
    ) -> int:
        size = looked = 0
        while not part.at_eof():
            piece = await patience.wait_for(part.read_chunk(_PIECE))
            patience.hear(len(piece))
            size += len(piece)
            if size > MAX_FILE_BYTES or start + size > MAX_REQUEST_BYTES:
                raise Refused(413, "REQUEST_TOO_LARGE", Connection="close")
            if place.code is not None and start + size > _SMALL_BYTES:
                raise _later(place.code)
            await self._do(place.file.write, piece)
            if start + size - looked > _LOOK_BYTES:
                looked = start + size
                if code := await self._no_room():
                    raise _later(code)
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


def _later(code: str) -> Refused:
    return Refused(503, code, Retry_After=str(RETRY_AFTER_S))


def _answer(receipts: Sequence[Receipt]) -> web.Response:
    refused = [each for each in receipts if each.state == "refused"]
    taken = [each for each in receipts if each.state != "refused"]
    status = 202 if taken and refused else 200 if taken else 409
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
    headers = {"Content-Type": "application/dicom+json"}
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
