"""A modality for tests: it sends films until each is acknowledged, whatever happens meanwhile."""

from __future__ import annotations

import logging
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

from pynetdicom import AE, _config

from cxrclient.node.network.association import keep_answers
from many_films import SentFilm
from waiting import HANG_S

logging.getLogger("pynetdicom.transport").setLevel(logging.CRITICAL)  # calls are refused: so what
_config.STORE_SEND_CHUNKED_DATASET = True  # the file's own bytes, whatever its header is like
_PATIENCE_S = 60
_BOUNDARY = "film-of-a-test"


class Modality:
    """Sends films over one or several lines, each again until it is acknowledged.

    Args:
        port: of the node on this machine.
        films: to send, in this order.
        lines: associations at a time.
        a_line: films on one association, after which another is asked for; None: no limit.
        pause_s: after each film, on each line.
        http_port: where given, one line more sends by STOW-RS.
        aet: the node's AE title.
    """

    def __init__(
        self,
        port: int,
        films: Sequence[SentFilm],
        *,
        lines: int = 1,
        a_line: int | None = None,
        pause_s: float = 0.0,
        http_port: int | None = None,
        aet: str = "CXR",
    ) -> None:
        self._port, self._http_port, self._aet, self._pause_s = port, http_port, aet, pause_s
        self._films, self._a_line = films, a_line or len(films)
        self._waiting = deque(films)
        self.acknowledged: list[SentFilm] = []
        self.answers: Counter[object] = Counter()
        self._given_up = threading.Event()
        work = [self._send_by_dicom] * lines + [self._send_by_http] * (http_port is not None)
        self._lines = [
            threading.Thread(target=self._until_all, args=(each,), daemon=True) for each in work
        ]
        self._progress_at = time.monotonic()

    def start(self) -> None:
        """Begin to send."""
        self._progress_at = time.monotonic()
        for line in self._lines:
            line.start()

    def join(self) -> None:
        """Wait until each film is acknowledged."""
        for line in self._lines:
            line.join()
        left = len(self._films) - len(self.acknowledged)
        assert not left or self._given_up.is_set(), f"{left} are never taken: {self.answers}"

    def give_up(self) -> None:
        """Send no other film."""
        self._given_up.set()
        self.join()

    def send(self) -> list[SentFilm]:
        """Send, and give what was acknowledged: all."""
        self.start()
        self.join()
        return self.acknowledged

    def _until_all(self, send: object) -> None:
        assert callable(send)
        while len(self.acknowledged) < len(self._films) and not self._given_up.is_set():
            if time.monotonic() > self._progress_at + HANG_S:
                return
            send()
            self._given_up.wait(0.02)  # before it calls again

    def _next(self) -> SentFilm | None:
        try:
            return None if self._given_up.is_set() else self._waiting.popleft()
        except IndexError:
            return None

    def _note(self, film: SentFilm, answer: object, *, yes: bool) -> None:
        self.answers[answer] += 1
        (self.acknowledged if yes else self._waiting).append(film)
        self._progress_at = time.monotonic() if yes else self._progress_at
        self._given_up.wait(self._pause_s)

    def _send_by_dicom(self) -> None:
        entity = AE("MODALITY")
        entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = _PATIENCE_S
        entity.network_timeout = _PATIENCE_S
        for kind in sorted({(film.sop_class, film.syntax) for film in self._films}):
            entity.add_requested_context(*kind)
        line = entity.associate("127.0.0.1", self._port, ae_title=self._aet)
        keep_answers(line)
        for _ in range(self._a_line):
            if not line.is_established or (film := self._next()) is None:
                break
            answer: object = None
            try:
                answer = line.send_c_store(film.path).get("Status")
            except (RuntimeError, ValueError) as error:  # the association is no more
                answer = type(error).__name__
            self._note(film, answer, yes=answer == 0x0000)
        if line.is_established:
            line.release()

    def _send_by_http(self) -> None:
        assert self._http_port is not None
        while (film := self._next()) is not None:
            answer: object
            try:
                answer = store_over_web(self._http_port, film.path)
            except OSError as error:
                answer = type(error).__name__
            self._note(film, answer, yes=answer == 200)
            if answer != 200:
                return


def store_over_web(port: int, path: Path) -> int:
    """STOW-RS of one film; the HTTP status."""
    part = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/dicom-web/studies",
        part + path.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode(),
        {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}',
            "Accept": "application/dicom+json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
