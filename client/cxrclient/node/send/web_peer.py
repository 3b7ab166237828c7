"""A peer that is called by DICOMweb: STOW-RS of files as they are, QIDO-RS.

dicomweb-client does not fit here: it decodes and encodes what it stores, hides which objects a 409
refuses, and knows no IPv6 address. The session is the same library's, requests.
"""

from __future__ import annotations

import json
import secrets
import ssl
from collections.abc import Sequence
from typing import Any

import requests

from cxrclient.node.network.association import (
    ANSWER_S,
    CONNECT_S,
    PeerError,
    tls_refused,
    unreachable,
)
from cxrclient.node.network.tls import web_session
from cxrclient.node.options import TlsFiles
from cxrclient.node.send.peer import Answer, answer_of
from cxrclient.node.spool.records import Delivery, ResultObject

_JSON = "application/dicom+json"
_NOBODYS_STUDY = "2.25.0"
# Attributes of PS3.18, table I.1-1, and of QIDO-RS, as DICOM JSON names them.
_SOP_UID, _REFERENCED_UID = "00080018", "00081155"
_FAILED, _STORED = "00081198", "00081199"
_FAILURE, _WARNING = "00081197", "00081196"
_NO_REASON = 0x0110  # processing failure


class WebPeer:
    """A PACS as `http(s)://HOST[:PORT]/PATH`.

    Args:
        name: as typed, without credentials.
        url: the same, without a slash at its end.
        credentials: user and password.
        tls: the authority of an https peer, and our certificate.

    Raises:
        UsageError: a file for TLS cannot be used.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        credentials: tuple[str, str] | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self.name = name
        self._url = url
        self._session = web_session(url, tls or TlsFiles())
        self._session.auth = credentials

    def check(self) -> None:
        """QIDO-RS for a study that nobody has; see Peer."""
        answer = self._call("GET", f"studies?StudyInstanceUID={_NOBODYS_STUDY}&limit=1")
        if not _good(answer):
            raise _cannot_ask(answer)

    def missing(self, delivery: Delivery) -> list[ResultObject]:
        """QIDO-RS for the instances of each series; see Peer."""
        there: set[str] = set()
        for series in dict.fromkeys(each.series_uid for each in delivery.outcome.objects):
            answer = self._call("GET", f"studies/{delivery.study_uid}/series/{series}/instances")
            if answer.status_code == requests.codes.not_found:
                self.check()  # no such study yet, or nobody to ask
            elif _good(answer):
                there.update(_uids(answer))
            else:
                raise _cannot_ask(answer)
        return [each for each in delivery.outcome.objects if each.uid not in there]

    def store(self, delivery: Delivery, objects: Sequence[ResultObject]) -> list[Answer]:
        """STOW-RS of all in one request; one by one where it does not say which; see Peer."""
        answer = self._post(delivery, objects)
        answers = _answers(answer, objects)
        if answers is None and len(objects) > 1:
            return [answer for each in objects for answer in self.store(delivery, [each])]
        why = f"HTTP {answer.status_code}"
        return answers or [Answer(each.kind, each.uid, "refused", why) for each in objects]

    def close(self) -> None:
        """See Peer."""
        self._session.close()

    def drop(self) -> None:
        """See Peer."""
        self._session.close()

    def _post(self, delivery: Delivery, objects: Sequence[ResultObject]) -> requests.Response:
        """Store in one request."""
        boundary = secrets.token_hex(16)
        parts = b"".join(
            b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n"
            % (boundary.encode(), (delivery.folder / each.file).read_bytes())
            for each in objects
        )
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        body = parts + f"--{boundary}--\r\n".encode()
        answer = self._call("POST", "studies", data=body, headers={"Content-Type": kind})
        if answer.status_code in (400, 409, 413, 415, 422) or _good(answer):
            return answer
        raise PeerError("PEER_REFUSED", f"It answers STOW-RS with HTTP {answer.status_code}.")

    def _call(self, method: str, path: str, **more: Any) -> requests.Response:
        """Send a request; what says nothing of the request itself is raised.

        Raises:
            PeerError: `PEER_UNREACHABLE`, `PEER_TLS`, `PEER_BUSY`, or `PEER_REFUSED`.
        """
        headers = {"Accept": _JSON, **more.pop("headers", {})}
        try:
            answer = self._session.request(
                method,
                f"{self._url}/{path}",
                headers=headers,
                timeout=(CONNECT_S, ANSWER_S),
                allow_redirects=False,
                **more,
            )
        except requests.exceptions.ReadTimeout as error:
            raise PeerError("PEER_BUSY", "It did not answer in time.") from error
        except requests.exceptions.RequestException as error:
            if (fault := _tls_fault(error)) is not None:
                raise tls_refused(fault) from error
            raise unreachable(error) from error
        status = answer.status_code
        if status in (408, 429) or (status >= 500 and status != requests.codes.not_implemented):
            raise PeerError("PEER_BUSY", f"It answers with HTTP {status}.")
        if status in (401, 403) and method == "POST":
            raise PeerError("PEER_REFUSED", f"It does not let us store: HTTP {status}.")
        return answer


def _answers(answer: requests.Response, objects: Sequence[ResultObject]) -> list[Answer] | None:
    """What a response to STOW-RS says of each (PS3.18, 10.5.3); None where it names none."""
    told = _told(answer)
    report = told if isinstance(told, dict) else {}
    failed = _reasons(report, _FAILED, _FAILURE, _NO_REASON)
    stored = _reasons(report, _STORED, _WARNING, 0)
    if not _good(answer) and not failed:
        return None
    return [
        answer_of(
            each,
            failed[each.uid]
            if each.uid in failed
            else stored.get(each.uid, 0 if answer.status_code == requests.codes.ok else _NO_REASON),
        )
        for each in objects
    ]


def _reasons(report: dict[str, Any], sequence: str, attribute: str, without: int) -> dict[str, int]:
    found = {}
    for item in report.get(sequence, {}).get("Value") or []:
        uid = (item.get(_REFERENCED_UID, {}).get("Value") or [""])[0]
        found[uid] = int((item.get(attribute, {}).get("Value") or [without])[0])
    return found


def _uids(answer: requests.Response) -> list[str]:
    told = _told(answer) if answer.content else []
    if not isinstance(told, list):
        raise _cannot_ask(answer)
    return [str((item.get(_SOP_UID, {}).get("Value") or [""])[0]) for item in told]


def _told(answer: requests.Response) -> Any:
    try:
        return json.loads(answer.content)
    except ValueError:
        return None


def _good(answer: requests.Response) -> bool:
    return int(answer.status_code) in range(200, 300)


def _cannot_ask(answer: requests.Response) -> PeerError:
    return PeerError("PEER_CANNOT_ASK", f"It answers QIDO-RS with HTTP {answer.status_code}.")


def _tls_fault(error: BaseException) -> ssl.SSLError | None:
    """Find the fault of TLS in an error, which requests and urllib3 have wrapped."""
    seen: list[object] = [error]
    for each in seen:
        if isinstance(each, ssl.SSLError):
            return each
        if isinstance(each, BaseException):
            reason = getattr(each, "reason", None)
            seen += [*each.args, each.__cause__, each.__context__, reason]
        if len(seen) > 100:
            break
    return None
