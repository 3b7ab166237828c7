"""A PACS that answers as a test says: no real one warns, refuses or lies when it is asked to.

By DIMSE it is pynetdicom's own; by DICOMweb a server of Python's library.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find, Verification

SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"]


@dataclass
class Script:
    """What it does, which a test may change while it runs.

    Attributes:
        statuses: SOP class → status of C-STORE, or FailureReason of STOW-RS.
        unknown: SOP classes that it does not accept in the negotiation.
        answers_find: whether it accepts C-FIND or QIDO-RS.
        find_status: of the last response to C-FIND.
        blind: how many times more it finds nothing.
        http: status of the next answers to STOW-RS, without a word more.
        got: UID → the data set, byte for byte; of STOW-RS the whole file.
        stores: every UID that it was sent, in order.
        associations: how many were opened.
        callers: AE titles that called; or what stood in Authorization.
        port: where it listens; 0: anywhere.
        tls: what it speaks TLS with.
        hold: while it is cleared no object is answered.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    answers_find: bool = True
    find_status: int = 0
    blind: int = 0
    http: int | None = None
    got: dict[str, bytes] = field(default_factory=dict)
    stores: list[str] = field(default_factory=list)
    associations: int = 0
    callers: set[str] = field(default_factory=set)
    port: int = 0
    tls: ssl.SSLContext | None = None
    hold: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hold.set()

    def keep(self, uid: str, sop_class: str, data: bytes) -> int:
        """Store an object, or not; gives the status."""
        self.stores.append(uid)
        self.hold.wait()
        status = self.statuses.get(sop_class, 0)
        if status == 0 or status & 0xF000 == 0xB000:
            self.got[uid] = data
        return status

    def has(self, uid: str) -> bool:
        """Say whether it has an object."""
        return uid in self.got


@contextmanager
def scripted_dimse(script: Script) -> Iterator[Script]:
    """Listen for DIMSE while this lasts; `script.port` says where."""
    entity = AE("PACS")
    entity.add_supported_context(Verification)
    for context in StoragePresentationContexts:
        if context.abstract_syntax not in script.unknown:
            entity.add_supported_context(str(context.abstract_syntax), SYNTAXES)
    if script.answers_find:
        entity.add_supported_context(Find)

    def store(event: Any) -> int:
        request = event.request
        data = request.DataSet.getvalue()
        return script.keep(request.AffectedSOPInstanceUID, request.AffectedSOPClassUID, data)

    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier.SOPInstanceUID
        if script.find_status:
            yield script.find_status, None
        script.blind -= 1
        for uid in [asked] if isinstance(asked, str) else asked:
            if script.blind < 0 and script.has(uid):
                found = Dataset()
                found.SOPInstanceUID = uid
                found.PatientName = "WARD^SECRET"
                yield 0xFF00, found

    def opened(event: Any) -> None:
        script.associations += 1
        script.callers.add(event.assoc.requestor.ae_title)

    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_C_FIND, find), (evt.EVT_ACCEPTED, opened)]
    server = entity.start_server(
        ("127.0.0.1", script.port), block=False, evt_handlers=handlers, ssl_context=script.tls
    )
    script.port = server.server_address[1]
    try:
        yield script
    finally:
        server.shutdown()
        for association in entity.active_associations:
            association.abort()


@contextmanager
def scripted_web(script: Script) -> Iterator[Script]:
    """Listen for STOW-RS and QIDO-RS while this lasts; `script.port` says where."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if not script.answers_find:
                return self._say(404, None)
            if "limit=1" in self.path:
                return self._say(200, [])
            series = self.path.split("/")[-2]
            script.blind -= 1
            found = [
                {"00080018": {"vr": "UI", "Value": [uid]}}
                for uid, file in script.got.items()
                if script.blind < 0 and series.encode() in file
            ]
            return self._say(200 if found else 404, found or None)

        def do_POST(self) -> None:
            script.callers.add(self.headers.get("Authorization", ""))
            body = self.rfile.read(int(self.headers["Content-Length"]))
            boundary = re.search(r"boundary=(\S+)", self.headers["Content-Type"])[1]  # type: ignore[index]
            if script.http is not None:
                return self._say(script.http, None)
            report: dict[str, Any] = {"00081198": [], "00081199": []}
            for part in body.split(f"--{boundary}".encode())[1:-1]:
                file = part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
                header = dcmread(DicomBytesIO(file), stop_before_pixels=True)
                uid, sop_class = str(header.SOPInstanceUID), str(header.SOPClassUID)
                status = script.keep(uid, sop_class, file)
                good = script.has(uid)
                item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
                if status:
                    reason = "00081196" if good else "00081197"
                    item[reason] = {"vr": "US", "Value": [status]}
                report["00081199" if good else "00081198"].append(item)
            status = 409 if report["00081198"] else 200
            told = {tag: {"vr": "SQ", "Value": items} for tag, items in report.items() if items}
            return self._say(status, told)

        def _say(self, status: int, body: object) -> None:
            told = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", script.port), Handler)
    script.port = server.server_address[1]
    if script.tls is not None:
        server.socket = script.tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
