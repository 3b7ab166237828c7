"""Every call that a server keeps closed, made as raw as an attacker makes it.

HTTP/2 by hand (RFC 9113, and RFC 7541 for its headers): gRPC's own clients send no line end in a
header, and would prove nothing of a server.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tritonclient.grpc import service_pb2 as messages

PATIENCE_S = 600
"""Only a hang takes so long."""

REGION = {"name": "mine", "byte_size": 64}
GRPC = {
    "SystemSharedMemoryStatus": messages.SystemSharedMemoryStatusRequest(),
    "SystemSharedMemoryRegister": messages.SystemSharedMemoryRegisterRequest(key="/x", **REGION),
    "SystemSharedMemoryUnregister": messages.SystemSharedMemoryUnregisterRequest(),
    "CudaSharedMemoryStatus": messages.CudaSharedMemoryStatusRequest(),
    "CudaSharedMemoryRegister": messages.CudaSharedMemoryRegisterRequest(**REGION),
    "CudaSharedMemoryUnregister": messages.CudaSharedMemoryUnregisterRequest(),
    "RepositoryIndex": messages.RepositoryIndexRequest(),
    "RepositoryModelLoad": messages.RepositoryModelLoadRequest(model_name="cxr"),
    "RepositoryModelUnload": messages.RepositoryModelUnloadRequest(model_name="cxr"),
    "TraceSetting": messages.TraceSettingRequest(),
    "LogSettings": messages.LogSettingsRequest(),
}
HTTP = {
    "GET /v2/systemsharedmemory/status": {},
    "GET /v2/systemsharedmemory/region/mine/status": {},
    "POST /v2/systemsharedmemory/region/mine/register": {"key": "/x", "offset": 0, "byte_size": 64},
    "POST /v2/systemsharedmemory/region/mine/unregister": {},
    "POST /v2/systemsharedmemory/unregister": {},
    "GET /v2/cudasharedmemory/status": {},
    "GET /v2/cudasharedmemory/region/mine/status": {},
    "POST /v2/cudasharedmemory/region/mine/register": {
        "raw_handle": {"b64": "AAAA"}, "device_id": 0, "byte_size": 64,
    },
    "POST /v2/cudasharedmemory/region/mine/unregister": {},
    "POST /v2/cudasharedmemory/unregister": {},
    "POST /v2/repository/index": {},
    "POST /v2/repository/models/cxr/load": {},
    "POST /v2/repository/models/cxr/unload": {},
    "GET /v2/trace/setting": {},
    "POST /v2/trace/setting": {"trace_rate": "1"},
    "GET /v2/models/cxr/trace/setting": {},
    "POST /v2/models/cxr/trace/setting": {"trace_rate": "1"},
    "GET /v2/logging": {},
    "POST /v2/logging": {"log_verbose_level": 1},
}  # fmt: skip


def restricted_by(pid: int) -> dict[str, tuple[str, str]]:
    """The header and value that a server asks for, by protocol: any local user can read them."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    found = {}
    for protocol, option in (("http", "--http-restricted-api="), ("grpc", "--grpc-restricted-pro")):
        (word,) = [word for word in words if word.startswith(option)]
        name, _, value = word.partition(":")[2].partition("=")
        found[protocol] = (name, value)
    return found


def http(port: int, call: str, header: bytes = b"") -> int | None:
    """Make a call such as `GET /v2/logging` with one more header line; None where none answered."""
    body = json.dumps(HTTP.get(call, {})).encode() if call.startswith("POST") else b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(
            f"{call} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode()
            + (header + b"\r\n" if header else b"")
            + b"Connection: close\r\n\r\n"
            + body
        )
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            return None
    return int(answer.split()[1]) if answer else None


def grpc(port: int, method: str, *headers: bytes) -> str:
    """Call a method with more headers, each as `literal` makes them; what became of it.

    Returns:
        `answered`, `restricted` (Triton's own word), `broken off`, or `failed`.
    """
    message = GRPC[method].SerializeToString()
    path = f"/inference.GRPCInferenceService/{method}".encode()
    block = b"".join(
        literal(name, value)
        for name, value in {
            b":method": b"POST", b":scheme": b"http", b":path": path, b":authority": b"x",
            b"content-type": b"application/grpc", b"te": b"trailers",
        }.items()
    )  # fmt: skip
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b""))
        outcome = "broken off"
        # Each header is sent on a stream of its own: one may lean on the table of the one before.
        for number, header in enumerate(headers or (b"",)):
            data = b"\0" + len(message).to_bytes(4, "big") + message
            stream = 2 * number + 1
            connection.sendall(_frame(1, 4, stream, block + header) + _frame(0, 1, stream, data))
            outcome = _outcome(connection, stream)
    return outcome


def literal(name: bytes, value: bytes, first: int = 0x00) -> bytes:
    """A header that is not compressed; `first` says whether it goes into the table (0x40)."""
    return bytes([first]) + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)])
    assert len(text) < 255
    return bytes([127, len(text) - 127])


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def _outcome(connection: socket.socket, wanted: int) -> str:
    """Read frames until this stream has ended."""
    headers, data, reset, settings, goaway = 1, 0, 3, 4, 7
    seen = b""
    answered = False
    with connection.makefile("rb") as incoming:
        while head := incoming.read(9):
            payload = incoming.read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == settings and not flags & 1:
                connection.sendall(_frame(settings, 1, 0, b""))
            if kind == goaway:
                break
            if stream != wanted:
                continue
            seen += payload if kind == headers else b""
            answered |= kind == data
            if kind == reset:
                break
            if flags & 1 and kind in (headers, data):
                if b"restricted" in seen:
                    return "restricted"
                return "answered" if answered else "failed"
    return "broken off"
