"""A PACS that is asked by QIDO-RS and gives by WADO-RS. Source: DICOM PS3.18."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from email.message import Message
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from dicomweb_client.api import DICOMwebClient

from cxrclient.errors import PacsRefused, PacsUnreachable, UsageError
from cxrclient.films import MAX_FILE_BYTES
from cxrclient.node.network.tls import web_session
from cxrclient.node.options import TlsFiles
from cxrclient.node.pull.pacs import Found, Keep, Wanted, dicom_date, is_uid, not_pulled

_Answers = list[dict[str, dict[str, Any]]]
_PAGE = 100
_PART_BYTES = 1 << 20
# In whatever syntax it is stored. Source: DICOM PS3.18 section 8.7.3.5.2.
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_DATE, _MODALITY, _MODALITIES = "00080020", "00080060", "00080061"
_STUDY, _SERIES, _SOP = "0020000D", "0020000E", "00080018"
_LATER = frozenset({408, 429, 502, 503, 504})


class DicomWebPacs:
    """A PACS behind DICOMweb.

    Args:
        url: may have a user and a password, which are shown nowhere.
        tls: authority, certificate and key, for https.
        timeout_s: how long it may say nothing.

    Raises:
        UsageError: the URL is none, or a file cannot be used.
    """

    def __init__(self, url: str, tls: TlsFiles, timeout_s: float) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
            raise UsageError("--pacs is no http(s)://HOST[:PORT]/PATH and no AET@HOST:PORT.")
        if tls and parts.scheme == "http":
            raise UsageError("--peer-tls-ca, --peer-tls-cert and --peer-tls-key need https://.")
        place = f"[{host}]" if ":" in host else host
        place += f":{port}" if port else ""
        self.name = f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
        self._session = web_session(url, tls)
        if parts.username is not None:
            self._session.auth = (unquote(parts.username), unquote(parts.password or ""))
        else:
            self._session.auth = requests.utils.get_netrc_auth(self.name)
        self._timeout_s = timeout_s
        self._client = DICOMwebClient(self.name, session=self._session, timeout=timeout_s)
        self._client.host = place  # it leaves out the port, and knows no IPv6 address
        self._client.set_http_retry_params(retry=False)  # it would repeat whatever failed

    def close(self) -> None:
        """End the connection."""
        self._session.close()

    def studies_of(self, day: date, wanted: Wanted) -> list[str]:
        """List the studies of a day that may have such films."""
        with self._mapped("its studies", PacsRefused):
            found = _all_pages(
                _STUDY,
                self._client.search_for_studies,
                fields=["StudyDate", "ModalitiesInStudy"],
                search_filters={"StudyDate": dicom_date(day)},
            )
        return [
            _value(each, _STUDY)
            for each in found
            if _value(each, _DATE) == dicom_date(day) and wanted.any_of(_values(each, _MODALITIES))
        ]

    def films_of(self, study_uid: str, wanted: Wanted) -> list[Found]:
        """List the films of a study."""
        films = []
        with self._mapped(f"the films of study {study_uid}", not_pulled):
            series = _all_pages(
                _SERIES, self._client.search_for_series, study_uid, fields=["Modality"]
            )
            for each in series:
                if _value(each, _MODALITY) in wanted.modalities:
                    uid = _value(each, _SERIES)
                    objects = _all_pages(_SOP, self._client.search_for_instances, study_uid, uid)
                    films += [Found(study_uid, uid, _value(one, _SOP)) for one in objects]
        return films

    def fetch(self, film: Found, keep: Keep) -> None:
        """Get a film's file as it is stored."""
        url = f"{self.name}/studies/{film.study_uid}/series/{film.series_uid}/instances/{film.uid}"
        with (
            self._mapped(f"film {film.uid}", not_pulled),
            self._session.get(
                url, headers={"Accept": _ACCEPT}, stream=True, timeout=self._timeout_s
            ) as answer,
        ):
            answer.raise_for_status()
            body = bytearray()
            for part in answer.iter_content(_PART_BYTES):
                body += part
                if len(body) > MAX_FILE_BYTES:
                    raise not_pulled(f"It has more than {MAX_FILE_BYTES >> 20} MiB.")
        file = _only_part(answer.headers.get("Content-Type", ""), body)
        if file is None:
            raise PacsUnreachable(f"{self.name} ended in the middle of a film.")
        keep(file)

    @contextmanager
    def _mapped(self, what: str, for_good: Callable[[str], Exception]) -> Iterator[None]:
        """Turn what requests raises into our errors, without its words: they quote URLs.

        Args:
            what: is asked for.
            for_good: the error of an answer that will be the same next time.
        """
        try:
            yield
        except requests.exceptions.SSLError as error:
            raise PacsRefused(
                f"No TLS connection to {self.name} comes about. Is its certificate expired, or its "
                "authority unknown here (--peer-tls-ca)? Does it ask for one of ours "
                "(--peer-tls-cert)?"
            ) from error
        except requests.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            if status in _LATER:
                raise PacsUnreachable(f"{self.name} cannot answer now (HTTP {status}).") from error
            if status == 401:
                raise PacsRefused(
                    f"{self.name} asks for a user and a password. Give them in ~/.netrc, or as "
                    "https://USER:PASSWORD@HOST/…"
                ) from error
            raise for_good(f"{self.name} does not give {what} (HTTP {status}).") from error
        except requests.exceptions.JSONDecodeError as error:
            raise for_good(f"{self.name} gives {what} not as DICOMweb does.") from error
        except requests.RequestException as error:
            raise PacsUnreachable(
                f"{self.name} does not answer ({type(error).__name__})."
            ) from error


def _all_pages(key: str, ask: Callable[..., _Answers], *about: str, **more: Any) -> _Answers:
    """Gather the pages of a list, until one brings nothing new: a PACS may ignore the offset.

    Args:
        key: tag of the UID that each answer has; one that is no UID is dropped.
        ask: for a page of the list.
        about: for `ask`.
        more: for it, too.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    offset = 0
    while page := ask(*about, limit=_PAGE, offset=offset, **more):
        before = len(found)
        found |= {_value(each, key): each for each in page if is_uid(_value(each, key))}
        if len(found) == before:
            break
        offset += len(page)
    return list(found.values())


def _values(answer: dict[str, dict[str, Any]], tag: str) -> list[Any]:
    """What an answer has of an element. Source: DICOM PS3.18 annex F."""
    return answer.get(tag, {}).get("Value") or []


def _value(answer: dict[str, dict[str, Any]], tag: str) -> Any:
    return next(iter(_values(answer, tag)), None)


def _only_part(content_type: str, body: bytearray) -> bytes | None:
    """Give the file in a multipart body; None where it ends early."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if boundary is None:  # some give the file without parts
        return bytes(body)
    mark = b"--" + boundary.encode("latin-1")
    start = body.find(b"\r\n\r\n", body.find(mark)) + 4
    end = body.find(b"\r\n" + mark, start)
    return bytes(body[start:end]) if 4 <= start < end else None
