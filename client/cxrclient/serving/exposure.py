"""What a Triton server opens to others: the APIs that are closed, and the holes of its version.

SECURITY.md says the same in words; a test holds the two together.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cxrclient.errors import UsageError
from cxrclient.wire import Tls, is_loopback, require_pair

CLOSED_APIS = ("shared-memory", "model-repository", "trace", "logging")
"""What changes a server, or another caller's tensors. Films need none of them."""

ADMIN_HEADER = "cxr-admin-key"
"""gRPC's metadata is called `triton-grpc-protocol-cxr-admin-key`: Triton adds that."""

TOKEN_HEADER = "cxr-token"  # noqa: S105  # its name
"""Of requests over HTTP; over gRPC `triton-grpc-protocol-cxr-token`, which `Endpoint` sends."""
_FOR_TOKEN = {
    "--grpc-restricted-protocol": ("inference", "health", "metadata", "model-config", "statistics"),
    # Health, metadata and configuration stay open over HTTP: `serve` itself reads them there.
    "--http-restricted-api": ("inference", "statistics"),
}

# Every user of a machine can read a server's arguments (/proc/PID/cmdline), its key included. So
# without an operator's key the server asks for a header that nobody can send: its NAME has a line
# end. In the value it would not do: gRPC looks at the names that it receives and not at the values,
# and Triton 2.51 took a line end in the value from a client that wrote its own HTTP/2.
UNSENDABLE_HEADER = "no key\nopens this"


@dataclass(frozen=True, slots=True)
class Hole:
    """A known vulnerability of Triton.

    Attributes:
        cves: its number, or those of a few like each other.
        release: the first NGC release without it.
        version: the first Triton version without it, its release's.
        what: what a caller does, in words.
        http_only: whether gRPC does not lead to it.
        runs_code: whether it may let a caller run code; else it ends the server.
        closed_by: what of ours keeps callers from it; empty where nothing does.
    """

    cves: tuple[str, ...]
    release: str
    version: tuple[int, int, int]
    what: str
    http_only: bool = False
    runs_code: bool = False
    closed_by: str = ""


# Source: NVIDIA's records in the CVE list (bulletins 5687, 5691, 5734, 5816, 5828). Of the last two
# rows they tell no more than "authentication bypass" and "denial of service"; what Triton mended of
# the first kind for 26.03 is in its pull requests 8680, 8685 (Vertex AI) and 8686 (SageMaker).
HOLES = (
    Hole(
        cves=("CVE-2025-23310", "CVE-2025-23311"),
        release="25.07",
        version=(2, 59, 1),
        what="one request in millions of chunks ends the server, and may run code",
        http_only=True,
        runs_code=True,
    ),
    Hole(
        cves=("CVE-2025-23317",),
        release="25.07",
        version=(2, 59, 1),
        what="a crafted request may run code",
        http_only=True,
        runs_code=True,
    ),
    Hole(
        cves=("CVE-2025-23318",),
        release="25.07",
        version=(2, 59, 1),
        what="a step's process can be made to write where it must not, which may run code",
        runs_code=True,
    ),
    Hole(
        cves=("CVE-2025-23321", "CVE-2025-23322", "CVE-2025-23331"),
        release="25.07",
        version=(2, 59, 1),
        what="an invalid request, or a stream that is cancelled, ends the server",
    ),
    Hole(
        cves=("CVE-2025-23319", "CVE-2025-23320", "CVE-2025-23334"),
        release="25.07",
        version=(2, 59, 1),
        what="a caller registers a step's private shared memory, reads it and writes over it",
        runs_code=True,
        closed_by="shared-memory is closed",
    ),
    Hole(
        cves=("CVE-2025-23316",),
        release="25.08",
        version=(2, 60, 0),
        what="the name of a model to be loaded runs as a command",
        runs_code=True,
        closed_by="model-repository is closed",
    ),
    Hole(
        cves=("CVE-2025-23329",),
        release="25.08",
        version=(2, 60, 0),
        what="a caller finds a step's private shared memory and damages it",
        closed_by="shared-memory is closed",
    ),
    Hole(
        cves=("CVE-2025-33201", "CVE-2025-33211"),
        release="25.10",
        version=(2, 62, 0),
        what="a very large request ends the server",
    ),
    Hole(
        cves=("CVE-2026-24146", "CVE-2026-24173"),
        release="26.02",
        version=(2, 66, 0),
        what="a malformed request, or one for very many outputs, ends the server",
    ),
    Hole(
        cves=("CVE-2026-24206", "CVE-2026-24207"),
        release="26.03",
        version=(2, 67, 0),
        what="a caller gets round what is closed, by another endpoint",
        http_only=True,
        runs_code=True,
        closed_by="the endpoints for Vertex AI and SageMaker are off",
    ),
    Hole(
        cves=("CVE-2026-24208", "CVE-2026-24209", "CVE-2026-24210"),
        release="26.03",
        version=(2, 67, 0),
        what="a crafted request ends the server",
    ),
)


def restrictions(admin_key: str | None = None) -> list[str]:
    """Arguments of tritonserver that close `CLOSED_APIS` over HTTP and over gRPC.

    Args:
        admin_key: opens them to whoever sends it in the header `cxr-admin-key`. The server's
            arguments show it to every user of the machine. None or empty: nobody can open them.
    """
    header, key = (
        (ADMIN_HEADER, admin_key) if admin_key else (UNSENDABLE_HEADER, secrets.token_hex())
    )
    rule = f"{','.join(CLOSED_APIS)}:{header}={key}"
    return [f"--http-restricted-api={rule}", f"--grpc-restricted-protocol={rule}"]


@dataclass(frozen=True)
class Entrance:
    """Who gets in to a Triton server.

    Attributes:
        admin_key: opens its administration to who sends it.
        tls: over gRPC; `certificate` and `key` are the server's own. With `ca`, a client has to
            show a certificate that this authority has signed (mutual TLS).
        token: that films have to come with. The server's arguments show it to every user of the
            machine.

    Raises:
        UsageError: a certificate cannot be used.
    """

    admin_key: str | None = None
    tls: Tls | None = None
    token: str | None = None

    def __post_init__(self) -> None:
        if self.tls is None:
            return
        if self.tls.certificate is None or self.tls.key is None:
            raise UsageError("A server over TLS needs its certificate and that one's key: both.")
        require_pair(self.tls.certificate, self.tls.key)
        Tls(self.tls.ca).context()

    def arguments(self) -> list[str]:
        """Arguments of tritonserver."""
        arguments = restrictions(self.admin_key)
        if self.token is not None:
            arguments += [
                f"{option}={','.join(apis)}:{TOKEN_HEADER}={self.token}"
                for option, apis in _FOR_TOKEN.items()
            ]
        if self.tls is not None:
            arguments += [
                "--grpc-use-ssl=true",
                f"--grpc-server-cert={self.tls.certificate}",
                f"--grpc-server-key={self.tls.key}",
            ]
            if self.tls.ca is not None:
                arguments += ["--grpc-use-ssl-mutual=true", f"--grpc-root-cert={self.tls.ca}"]
        return arguments

    def notice(self, version: str, listening: Mapping[str, str]) -> Iterator[str]:
        """Say what other machines can reach and do, and which keys users of this one can read.

        Args:
            version: Triton's.
            listening: HOST:PORT by what listens there: `gRPC`, `HTTP` or `metrics`.
        """
        opened = {name: at for name, at in listening.items() if not is_loopback(at)}
        if opened:
            ports = ", ".join(f"{name} {address}" for name, address in opened.items())
            yield f"Open to other machines: {ports}. {self._who(opened)}"
            yield from _holes_in_words(version, opened)
        keys = {
            "Triton's administration is open to who sends the admin key": self.admin_key,
            "Triton takes films only with the token, and over HTTP answers health, metadata and "
            "configuration without": self.token,
        }
        for what, key in keys.items():
            if key:
                yield f"{what}; every user of this machine can read it in the server's arguments."

    def _who(self, opened: Mapping[str, str]) -> str:
        if self.tls is None or "gRPC" not in opened:
            who = "who has the token" if self.token else "anybody"
            return (
                f"Nothing is encrypted, and {who} may send requests. Let a firewall or TLS decide "
                "who gets in (SECURITY.md)."
            )
        needs = ["a certificate"] * bool(self.tls.ca) + ["the token"] * bool(self.token)
        who = f"who has {' and '.join(needs)}" if needs else "anybody"
        plain = [name for name in opened if name != "gRPC"]
        more = f" Not encrypted: {' and '.join(plain)}." if plain else ""
        return f"gRPC is encrypted, and {who} may send films.{more}"


def holes_of(version: str) -> tuple[Hole, ...]:
    """The known holes that stay open in a Triton of that version, such as `2.51.0`.

    A version that cannot be read has them all.
    """
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    numbers = tuple(map(int, found.groups())) if found else ()
    return tuple(hole for hole in HOLES if not hole.closed_by and numbers < hole.version)


def _holes_in_words(version: str, opened: Mapping[str, str]) -> Iterator[str]:
    holes = [
        hole
        for hole in holes_of(version)
        if "HTTP" in opened or ("gRPC" in opened and not hole.http_only)
    ]
    if holes:
        newest = max(hole.release for hole in holes)
        yield f"Triton {version} has known holes, which {newest} fixes: {_in_words(holes)}."


def _in_words(holes: Sequence[Hole]) -> str:
    """Holes that run code one by one, by what a caller does; those that end the server together."""
    words = [f"{hole.what} ({', '.join(hole.cves)})" for hole in holes if hole.runs_code]
    enders = [cve for hole in holes if not hole.runs_code for cve in hole.cves]
    if enders:
        others = f" and {len(enders) - 1} others, in SECURITY.md" if enders[1:] else ""
        words.append(f"some requests end the server ({enders[0]}{others})")
    return "; ".join(words)
