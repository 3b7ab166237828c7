"""The gRPC channel to one Triton server, and what the server says of itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from cxrclient.errors import ServerUnfit, ServerUnreachable, UsageError
from cxrclient.films import MAX_FILE_BYTES
from cxrclient.wire.address import DEFAULT_PORT, Endpoint, is_loopback
from cxrclient.wire.ensemble import ENSEMBLE, LARGEST_ANSWER_BYTES, EnsembleInfo
from cxrclient.wire.handshake import denied, is_denied, line_fault, refusal

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 2.0

# A server that ends cancels what it was asked; nobody else does.
_UNREACHABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})
_BESIDE_THE_FILM_BYTES = 1 << 20
_SERVICE = "/inference.GRPCInferenceService/"


class ServedModel(NamedTuple):
    """What a server says of one of its models.

    Attributes:
        backend: its name, such as `tensorrt`.
        ready: whether the server has loaded it and takes requests for it.
    """

    backend: str
    ready: bool


def status_of(error: Any) -> str:
    """The name of gRPC's status code."""
    return str(error.code().name)


class Connection:
    """A gRPC channel; belongs to the event loop that it is first used in.

    Args:
        address: `HOST:PORT` of the server's gRPC endpoint, or that with what it takes to get in.

    Raises:
        UsageError: the address is not one, or its certificates cannot be used.
    """

    def __init__(self, address: str | Endpoint) -> None:
        self.endpoint = Endpoint.of(address)
        self.address = str(self.endpoint)
        self._closed = False
        self._channel: Any = None
        self._check: asyncio.Task[EnsembleInfo] | None = None
        self._next_check: asyncio.Task[EnsembleInfo] | None = None
        self._read: tuple[bytes, EnsembleInfo] | None = None

    def open(self) -> None:
        """Be ready, also after `close`."""
        self._closed = False

    def shut(self) -> None:
        """Begin nothing more; what is under way goes on."""
        self._closed = True

    async def close(self) -> None:
        """Close the channel; what is under way is cancelled."""
        self._closed = True
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def require_open(self) -> None:
        """Raise UsageError after `shut` or `close`."""
        if self._closed:
            raise UsageError("The client is closed; make a new one.")

    async def infer(self, request: bytes, limit_s: float) -> bytes:
        """Send a serialised `ModelInferRequest`; the answer as it came.

        Raises:
            grpc.aio.AioRpcError: it has no answer.
        """
        return await self._call("ModelInfer", request, limit_s)

    async def is_live(self) -> bool:
        """Whether a Triton server answers."""
        from grpc.aio import AioRpcError

        try:
            answer = await self._ask("ServerLive", PROBE_TIMEOUT_S)
        except (AioRpcError, ServerUnfit):
            return False
        return bool(answer.live)

    async def _is_ready(self) -> bool:
        """Whether the server has loaded all its models and takes requests."""
        from grpc.aio import AioRpcError

        try:
            return bool((await self._ask("ServerReady", PROBE_TIMEOUT_S)).ready)
        except AioRpcError:
            return False

    async def ensemble(self) -> EnsembleInfo:
        """Read what the server says of its ensemble.

        Raises:
            ServerUnreachable: nothing answers.
            TlsFailed: no line over TLS comes about.
            AccessDenied: the server refuses our token or certificate.
            ServerUnfit: something answers that is not our ensemble.
        """
        from grpc.aio import AioRpcError

        if self.endpoint.tls and (fault := await asyncio.to_thread(line_fault, self.endpoint)):
            raise fault
        try:
            await self._ask("ServerLive", CONNECT_TIMEOUT_S)
        except AioRpcError as error:
            _log.debug("no server at %s: %s", self.address, status_of(error))
            if refused := await refusal(self.endpoint, error):
                raise refused from error
            if status_of(error) in _UNREACHABLE:
                raise self.unreachable() from error
            raise self._unfit(
                f"is no Triton server; its gRPC port is {DEFAULT_PORT} by default"
            ) from error
        info = await self.configuration()
        _log.info("%s serves %s, digest %s", self.endpoint, info.name, info.digest[:12])
        return info

    async def ensemble_from_now(self) -> EnsembleInfo:
        """What the server says of its ensemble, asked after this call began.

        Callers that come while a question is under way share the next one, so that the server is
        not asked once for each film.

        Raises:
            ServerUnreachable: nothing answers any more.
            ServerUnfit: it serves no ensemble of ours.
        """
        if self._next_check is None:
            self._next_check = asyncio.ensure_future(self._ask_after(self._check))
            self._next_check.add_done_callback(_looked_at)
        return await asyncio.shield(self._next_check)

    async def _ask_after(self, before: asyncio.Task[EnsembleInfo] | None) -> EnsembleInfo:
        if before is not None and not before.done():
            await asyncio.wait({before})
        self._check, self._next_check = self._next_check, None
        return await self.configuration()

    async def configuration(self) -> EnsembleInfo:
        """Read the ensemble's configuration from a server that is known to be one.

        Raises:
            ServerUnreachable: nothing answers any more, or the server stops or loads.
            ServerUnfit: it serves no ensemble of ours.
        """
        from grpc.aio import AioRpcError
        from tritonclient.grpc import service_pb2

        request = service_pb2.ModelConfigRequest(name=ENSEMBLE).SerializeToString()
        try:
            answer = await self._call("ModelConfig", request, CONNECT_TIMEOUT_S)
        except AioRpcError as error:
            status = status_of(error)
            if is_denied(error):
                raise denied(self.endpoint, error) from error
            if status in _UNREACHABLE:
                raise self.unreachable() from error
            if not await self._is_ready():
                # While it stops or loads, what it says of its models says nothing of what it is.
                raise ServerUnreachable(
                    f"The server at {self.address} is loading or stopping. Try again in a minute. "
                    "If a model does not load, its log says why."
                ) from error
            if status not in ("NOT_FOUND", "INVALID_ARGUMENT"):
                raise self._unfit(f"does not tell its configuration ({status})") from error
            raise self._unfit(
                f"is a Triton server without a model `{ENSEMBLE}`. Start it on a repository that "
                "`cxrexport build` made: `cxrclient serve --model-repository DIR`"
            ) from error
        if self._read is None or self._read[0] != answer:
            config = self._parsed("ModelConfig", answer).config
            self._read = answer, self._read_parameters(config.parameters)
        return self._read[1]

    async def version(self) -> str:
        """Triton's version.

        Raises:
            ServerUnreachable: nothing answers.
        """
        from grpc.aio import AioRpcError

        try:
            return str((await self._ask("ServerMetadata", CONNECT_TIMEOUT_S)).version)
        except AioRpcError as error:
            raise self.unreachable() from error

    async def models(self, names: Sequence[str]) -> tuple[str, dict[str, ServedModel]]:
        """Return the server's version, and what it says of those models that it has.

        Raises:
            ServerUnreachable: nothing answers.
        """
        from grpc.aio import AioRpcError

        # Not the repository's index: it belongs to what a server keeps closed (exposure.py).
        version, found = await self.version(), {}
        for name in names:
            try:
                config = (await self._ask("ModelConfig", CONNECT_TIMEOUT_S, name=name)).config
                ready = (await self._ask("ModelReady", CONNECT_TIMEOUT_S, name=name)).ready
                found[name] = ServedModel(config.backend, ready)
            except AioRpcError as error:
                if status_of(error) != "NOT_FOUND":
                    raise self.unreachable() from error
        return version, found

    async def instances(self) -> dict[str, int]:
        """Return how many instances each step of the ensemble has.

        Raises:
            ServerUnreachable: nothing answers.
        """
        from grpc.aio import AioRpcError

        found = {}
        try:
            ensemble = (await self._ask("ModelConfig", CONNECT_TIMEOUT_S, name=ENSEMBLE)).config
            for step in ensemble.ensemble_scheduling.step:
                name = step.model_name
                config = (await self._ask("ModelConfig", CONNECT_TIMEOUT_S, name=name)).config
                # A group has its number of instances on each of its GPUs.
                found[name] = sum(g.count * max(1, len(g.gpus)) for g in config.instance_group)
        except AioRpcError as error:
            raise self.unreachable() from error
        return found

    async def requests(self, models: Sequence[str]) -> dict[str, int]:
        """Return how many requests each model has answered, failed ones included.

        Raises:
            ServerUnreachable: nothing answers.
        """
        from grpc.aio import AioRpcError

        found = {}
        try:
            for name in models:
                answer = await self._ask("ModelStatistics", CONNECT_TIMEOUT_S, name=name)
                counts = [each.inference_stats for each in answer.model_stats]
                found[name] = sum(each.success.count + each.fail.count for each in counts)
        except AioRpcError as error:
            raise self.unreachable() from error
        return found

    def unreachable(self) -> ServerUnreachable:
        """The error of a server that does not answer."""
        return ServerUnreachable(
            f"No server answers at {self.address}. Start one here with `cxrclient serve`, or name "
            "another with `address`: HOST:PORT, its gRPC port."
        )

    def _unfit(self, what: str) -> ServerUnfit:
        return ServerUnfit(f"The server at {self.address} {what}.")

    def _read_parameters(self, parameters: Any) -> EnsembleInfo:
        values = {key: value.string_value for key, value in parameters.items()}
        try:
            return EnsembleInfo.from_parameters(values)
        except (KeyError, ValueError, RecursionError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else f"is damaged ({error})"
            raise self._unfit(
                f"has an ensemble `{ENSEMBLE}` whose configuration {what}. Build its repository "
                "again with `cxrexport build`, or see `cxrexport check`"
            ) from error

    async def _ask(self, method: str, limit_s: float, **fields: Any) -> Any:
        """Call one of Triton's methods by its name; its answer as a message."""
        from tritonclient.grpc import service_pb2

        request = getattr(service_pb2, method + "Request")(**fields)
        answer = await self._call(method, request.SerializeToString(), limit_s)
        return self._parsed(method, answer)

    async def _call(self, method: str, request: bytes, limit_s: float) -> bytes:
        # Without a deserializer: gRPC logs a traceback of what it cannot read, and gives None.
        call = self._opened().unary_unary(_SERVICE + method)
        answer: bytes = await call(request, timeout=limit_s, metadata=self.endpoint.headers or None)
        return answer

    def _parsed(self, method: str, answer: bytes) -> Any:
        from google.protobuf.message import DecodeError
        from tritonclient.grpc import service_pb2

        try:
            return getattr(service_pb2, method + "Response").FromString(answer)
        except DecodeError as error:
            raise self._unfit("does not speak as Triton does") from error

    def _opened(self) -> Any:
        if self._channel is None:
            self.require_open()
            import grpc

            # A 16-bit film has more than gRPC's 4 MB; nothing has more than these. After a restart
            # of the server the next film should find it, so the channel tries again soon.
            options: list[tuple[str, int | str]] = [
                ("grpc.max_send_message_length", MAX_FILE_BYTES + _BESIDE_THE_FILM_BYTES),
                ("grpc.max_receive_message_length", LARGEST_ANSWER_BYTES),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ]
            address, tls = self.endpoint.address, self.endpoint.tls
            if is_loopback(address):
                # A hospital's http_proxy is no way to this machine.
                options.append(("grpc.enable_http_proxy", 0))
            if tls is None:
                self._channel = grpc.aio.insecure_channel(address, options)
            else:
                if tls.server_name:
                    options.append(("grpc.ssl_target_name_override", tls.server_name))
                self._channel = grpc.aio.secure_channel(address, tls.credentials(), options)
        return self._channel


def _looked_at(check: asyncio.Task[EnsembleInfo]) -> None:
    """Keep asyncio from complaining of an answer that nobody waits for any more."""
    if not check.cancelled():
        check.exception()
