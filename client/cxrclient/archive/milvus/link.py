"""The connection to one Milvus, in a file or on a server, and the one seam for its errors."""

from __future__ import annotations

import logging
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from cxrclient.archive.milvus import lite as milvus_lite
from cxrclient.archive.milvus.imported import import_pymilvus
from cxrclient.archive.milvus.tls import Tls, for_pymilvus
from cxrclient.errors import ArchiveInput, ArchiveUnavailable, ArchiveUnreachable, UsageError

if TYPE_CHECKING:
    from pymilvus import MilvusClient

# Of a server, and of Lite where it parses and where it computes a filter.
_NOT_UNDERSTOOD = re.compile("cannot parse expression|Invalid expr|segcore error")


# gRPC waits up to two minutes before it tries a lost server again; one that is back is wanted soon.
_SOON_BACK = {
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.min_reconnect_backoff_ms": 1000,
    "grpc.max_reconnect_backoff_ms": 2000,
}
# A trap: pymilvus pings every 10 s, and Milvus Lite's gRPC bears one in five minutes. After two
# minutes without a call it says GOAWAY (too_many_pings, measured), and gRPC says so on stderr. A
# process next door needs no pings: its end closes the socket.
_NO_PINGS = {
    "grpc.keepalive_time_ms": 2**31 - 1,
    "grpc.keepalive_permit_without_calls": False,
}


class Link:
    """A connection to one Milvus."""

    def __init__(
        self, uri: str, *, token: str | None, tls: Tls | None, timeout_s: float, create: bool
    ) -> None:
        """Connect. Raises ArchiveUnavailable, or UsageError: no host, or `tls` names no file."""
        self.shown_uri = without_credentials(uri)
        if not self.local and not urlsplit(uri).hostname:  # pymilvus would ask its own default
            raise UsageError(f"{self.shown_uri} names no server. Write http://HOST:19530.")
        self._timeout_s = timeout_s
        self._path: Path | None = None
        self._client: MilvusClient | None = None
        self._served: subprocess.Popen[bytes] | None = None
        self._again = threading.Lock()
        if not uri.startswith(("http://", "https://")):
            self._path = milvus_lite.acquire(uri, create=create)
        try:
            import_pymilvus(lite=self.local)
            with self.mapped():
                self._client = self._connect(uri, token or "", tls)
        except BaseException:
            self.close()
            raise

    @property
    def local(self) -> bool:
        """Whether this is a file, served by Milvus Lite in this process."""
        return not self.shown_uri.startswith(("http://", "https://"))

    def close(self) -> None:
        """Give the connection, and a file's lock, back. Twice is fine."""
        client, self._client = self._client, None
        path, self._path = self._path, None
        try:
            if client is not None:
                client.close()
        finally:
            if path is not None:
                milvus_lite.release(path)

    def _connect(self, uri: str, token: str, tls: Tls | None) -> MilvusClient:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # milvus_lite imports a deprecated pkg_resources
            from pymilvus import MilvusClient

            # pymilvus logs each refused call with its arguments; ids belong in no log (law 5),
            # and what went wrong is in the error that we raise.
            logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
            if self._path:
                client = self._connect_lite(MilvusClient)
                self._served = milvus_lite.serving(self._path)
                return client
            # pymilvus shares connections by address and token, whatever their certificates are.
            return MilvusClient(
                uri,
                token=token,
                timeout=self._timeout_s,
                dedicated=True,
                grpc_options=_SOON_BACK,
                **(for_pymilvus(tls) if tls else {}),
            )

    def _connect_lite(self, client: type[MilvusClient]) -> MilvusClient:
        """Connect as soon as Milvus Lite listens: on a busy machine that takes it over 0.5 s.

        A trap: it waits just so long for its process, and pymilvus then fails at once, whatever its
        timeout, because there is no socket yet.
        """
        from pymilvus.exceptions import MilvusException
        from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

        def is_not_there_yet(error: BaseException) -> bool:
            return isinstance(error, MilvusException) and "connecting to server" in str(error)

        milvus_lite.keep_apart()
        attempts = Retrying(
            retry=retry_if_exception(is_not_there_yet),
            stop=stop_after_delay(self._timeout_s),
            wait=wait_fixed(0.1),
            reraise=True,
        )
        return attempts(client, str(self._path), timeout=self._timeout_s, grpc_options=_NO_PINGS)

    @property
    def _open(self) -> MilvusClient:
        if self._client is None:
            raise ArchiveUnavailable(f"{self.shown_uri} was closed. Open it again.")
        with self._again:
            if self._path is not None and self._has_ended():
                self._connect_again(self._path)
            return self._client

    def _has_ended(self) -> bool:
        """Whether the Milvus Lite that this is connected to serves no more."""
        return self._path is not None and (
            self._served is None
            or milvus_lite.fate(self._served) is not None
            or self._served is not milvus_lite.serving(self._path)
        )

    def _connect_again(self, path: Path) -> None:
        """To a Milvus Lite that is started anew, with every collection ready to be searched."""
        lost = self._client
        milvus_lite.forget(path)
        self._client = client = self._connect(str(path), "", None)
        if lost is not None:
            lost.close()
        for name in client.list_collections(timeout=self._timeout_s):
            client.load_collection(name, timeout=self._timeout_s)

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """The one seam where Milvus's and gRPC's errors become ours."""
        import grpc
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, grpc.RpcError, OSError, RuntimeError) as error:
            if self._client is not None and self.local and self._has_ended():
                how = self._served and milvus_lite.fate(self._served)
                raise ArchiveUnavailable(
                    f"Milvus Lite, which serves {self.shown_uri}, ended ("
                    f"{how or 'for an unknown reason'}). No stored film is lost, and the next call "
                    "starts it again. If the same call ends it again, change the call, or look for "
                    f"damage: cxrclient archive verify --uri {self.shown_uri}"
                ) from error
            reason = " ".join(str(getattr(error, "message", error)).split()) or repr(error)
            if _NOT_UNDERSTOOD.search(reason):
                raise self.not_understood() from error
            kind = ArchiveUnavailable if self.local else ArchiveUnreachable
            raise kind(
                f"{self.shown_uri} did not do what it was asked ({reason}). "
                + (
                    "The file may be damaged, or the disk full."
                    if self.local
                    else "Is the Milvus server running there, and are token and certificates right?"
                )
            ) from error

    def not_understood(self) -> ArchiveInput:
        """What is said of a filter that this Milvus does not understand.

        Milvus's own reason is left out: it quotes the whole condition, with keys of patients and
        with what stands for unknown values.
        """
        lacks = (
            ", for in a file it knows no `not (…)`, no `not like`, no `exists`, compares no column "
            "of the metadata with another, and computes next to nothing"
        )
        return ArchiveInput(
            f"Milvus does not understand the filter{lacks if self.local else ''}. Compare columns "
            "with values of their kind, by !=, >=, <= or `not in` too: "
            'treatment != "oxygen" and age <= 60.'
        )


def without_credentials(uri: str) -> str:
    """`uri` as it may be shown: `https://user:password@host` has its middle taken out."""
    if not uri.startswith(("http://", "https://")):
        return uri
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
