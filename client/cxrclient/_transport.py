"""The one place that speaks to Triton: gRPC in, our errors out.

Every error of gRPC or Triton is mapped here and nowhere else. The server's own errors read
`CODE: sentence`; that is all that is parsed of their text.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from cxrclient._address import DEFAULT_PORT, checked_address, is_loopback
from cxrclient.errors import FilmError, ServerError, ServerUnfit, ServerUnreachable, UsageError
from cxrclient.prediction import EnsembleInfo

__all__ = ["Answer", "ServedModel", "Transport", "film_error"]

_log = logging.getLogger(__name__)

ENSEMBLE = "cxr"
CONNECT_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 2.0

# A cancelled request can crash or hang the server for everybody: measured with Triton 2.51, whose
# ensembles race with their own parallel steps then (docs/adr/0007). So no call is cancelled while
# there is hope that it ends: who no longer waits leaves it to finish by itself.
ABANDONED_CALL_S = 600.0
"""How much longer than its film's time limit a call may live that nobody waits for."""
DRAIN_AT_LEAST_S = 120.0
"""How long `close` waits for calls in flight, if a film's time limit is not longer still; what is
then open is cancelled after all, for it belongs to a server that hangs anyway."""

# What the preprocess step says of a film: sending the same film again gives the same answer.
_REJECTED = frozenset(
    {"NOT_READABLE", "NO_PIXELS", "MULTI_FRAME", "COLOUR", "CONSTANT", "TOO_LARGE"}
)
_UNREACHABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})
_CODE_AND_SENTENCE = re.compile(r"\b([A-Z][A-Z0-9_]{2,}): (.+)", re.DOTALL)


class ServedModel(NamedTuple):
    """What a server says of one of its models.

    Attributes:
        backend: its name, such as `tensorrt`.
        ready: whether the server has loaded it and takes requests for it.
    """

    backend: str
    ready: bool


class Answer(NamedTuple):
    """What the server said of a film.

    Attributes:
        tensors: the ensemble's outputs without their batch axis.
        latency_ms: from sending the film to having them, the server's queues included.
        ensemble: what the server said of itself right after.
    """

    tensors: dict[str, Any]
    latency_ms: float
    ensemble: EnsembleInfo


def film_error(error: ServerError) -> FilmError:
    """The server's fate as the fate of one film."""
    return FilmError(error.code, error.message, status="failed", retriable=error.retriable)


class Transport:
    """A gRPC channel to one server; belongs to the event loop that it is first used in.

    Args:
        address: `HOST:PORT` of the server's gRPC endpoint.
        timeout_s: the most that the server may take for a film, its queues included.

    Raises:
        UsageError: the address is not one.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        self.address = checked_address(address)
        self._closed = False
        self._timeout_s = timeout_s
        self._channel: Any = None
        self._calls: set[asyncio.Task[Answer]] = set()

    def _client(self) -> Any:
        if self._channel is None:
            if self._closed:
                raise UsageError("The client is closed; make a new one.")
            from tritonclient.grpc.aio import InferenceServerClient

            # A 16-bit film has more than gRPC's 4 MB. After a restart of the server the next film
            # should find it, so the channel tries again soon.
            options: list[tuple[str, int]] = [
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ]
            if is_loopback(self.address):
                # A hospital's http_proxy is no way to this machine.
                options.append(("grpc.enable_http_proxy", 0))
            self._channel = InferenceServerClient(self.address, channel_args=options)
        return self._channel

    def open(self) -> None:
        """Be ready to send, also after `close`."""
        self._closed = False

    async def close(self, *, drain: bool = True) -> None:
        """Send nothing more, let calls in flight end, close the channel; harmless twice.

        Args:
            drain: False cancels calls in flight at once; so does cancelling this coroutine.
        """
        self._closed = True
        try:
            if drain and self._calls:
                _log.info("waiting for %d films in flight", len(self._calls))
                limit_s = max(self._timeout_s, DRAIN_AT_LEAST_S)
                await asyncio.wait(self._calls, timeout=limit_s)
        finally:
            channel, self._channel = self._channel, None
            if channel is not None:
                await channel.close()

    async def ensemble(self) -> EnsembleInfo:
        """Read what the server says of its ensemble.

        Raises:
            ServerUnreachable: nothing answers.
            ServerUnfit: something answers that is not our ensemble.
        """
        from tritonclient.utils import InferenceServerException

        try:
            await self._client().is_server_live(client_timeout=CONNECT_TIMEOUT_S)
        except InferenceServerException as error:
            _log.debug("no server at %s: %s", self.address, _status(error))
            if _status(error) in _UNREACHABLE:
                raise ServerUnreachable(self._unreachable()) from error
            raise self._unfit(
                f"is no Triton server; its gRPC port is {DEFAULT_PORT} by default"
            ) from error
        return await self.configuration()

    async def configuration(self) -> EnsembleInfo:
        """Read the ensemble's configuration from a server that is known to be one.

        Raises:
            ServerUnreachable: nothing answers any more.
            ServerUnfit: it serves no ensemble of ours.
        """
        from tritonclient.utils import InferenceServerException

        try:
            answer = await self._client().get_model_config(
                ENSEMBLE, client_timeout=CONNECT_TIMEOUT_S
            )
        except InferenceServerException as error:
            status = _status(error)
            if status in _UNREACHABLE:
                raise ServerUnreachable(self._unreachable()) from error
            if status not in ("NOT_FOUND", "INVALID_ARGUMENT"):
                raise self._unfit(f"does not tell its configuration ({status})") from error
            raise self._unfit(
                f"is a Triton server without a model `{ENSEMBLE}`. Start it on a repository that "
                "`cxrexport build` made: `cxrclient serve --model-repository DIR`"
            ) from error
        return self._read_parameters(answer.config.parameters)

    async def models(self, names: Sequence[str]) -> tuple[str, dict[str, ServedModel]]:
        """Return the server's version, and what it says of those models that it has.

        Raises:
            ServerUnreachable: nothing answers.
        """
        from tritonclient.utils import InferenceServerException

        client, found = self._client(), {}
        limit: dict[str, Any] = {"client_timeout": CONNECT_TIMEOUT_S}
        try:
            version = str((await client.get_server_metadata(**limit)).version)
            index = await client.get_model_repository_index(**limit)
            for name in {model.name for model in index.models}.intersection(names):
                config = (await client.get_model_config(name, **limit)).config
                ready = await client.is_model_ready(name, **limit)
                found[name] = ServedModel(config.backend, ready)
        except InferenceServerException as error:
            raise ServerUnreachable(self._unreachable()) from error
        return version, found

    def _read_parameters(self, parameters: Any) -> EnsembleInfo:
        values = {key: value.string_value for key, value in parameters.items()}
        try:
            return EnsembleInfo.from_parameters(values)
        except (KeyError, ValueError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else f"is damaged ({error})"
            raise self._unfit(
                f"has an ensemble `{ENSEMBLE}` whose configuration {what}. Build its repository "
                "again with `cxrexport build`, or see `cxrexport check`"
            ) from error

    def _unreachable(self) -> str:
        return (
            f"No server answers at {self.address}. Start one here with `cxrclient serve`, or name "
            "another with `--server HOST:PORT` (its gRPC port)."
        )

    def _unfit(self, what: str) -> ServerUnfit:
        return ServerUnfit(f"What answers at {self.address} {what}.")

    def send(self, payload: bytes, outputs: tuple[str, ...]) -> asyncio.Task[Answer]:
        """Send one film; the call ends when the server answers, whether anybody waits or not.

        An answer does not say which model it is of, gRPC reconnects silently, and a server may
        reload: so the server is asked again after each, which costs a film about a millisecond.

        Args:
            payload: an encoded film.
            outputs: names of the ensemble's outputs.

        Raises:
            UsageError: the connection is closed.
        """
        import numpy as np
        from tritonclient.grpc import InferInput, InferRequestedOutput

        if self._closed:
            raise UsageError("The client is closed; make a new one.")
        image = InferInput("IMAGE", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[payload]], dtype=np.object_))
        wanted = [InferRequestedOutput(name) for name in outputs]
        call = asyncio.ensure_future(self._ask(image, wanted))
        self._calls.add(call)
        call.add_done_callback(self._forget)
        return call

    async def _ask(self, image: Any, wanted: list[Any]) -> Answer:
        started = time.perf_counter()
        limit_s = self._timeout_s + ABANDONED_CALL_S
        result = await self._client().infer(
            ENSEMBLE, [image], outputs=wanted, client_timeout=limit_s
        )
        latency_ms = (time.perf_counter() - started) * 1000.0
        tensors = {output.name(): result.as_numpy(output.name())[0] for output in wanted}
        return Answer(tensors, latency_ms, await self.configuration())

    async def answer(self, call: asyncio.Task[Answer]) -> Answer:
        """Wait for a call's answer.

        Raises:
            FilmError: every fate that is not an answer.
        """
        from tritonclient.utils import InferenceServerException

        try:
            return await asyncio.wait_for(asyncio.shield(call), self._timeout_s)
        except TimeoutError as error:
            raise self._timeout() from error
        except InferenceServerException as error:
            raise await self._film_error(error) from error
        except ServerError as error:
            raise film_error(error) from error

    def _forget(self, call: asyncio.Task[Answer]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # looked at, so that asyncio does not complain of an abandoned call

    async def _film_error(self, error: Any) -> FilmError:
        status = _status(error)
        if status == "UNAVAILABLE":
            return await self._unavailable()
        if status == "DEADLINE_EXCEEDED":
            return self._timeout()
        found = _CODE_AND_SENTENCE.search(error.message() or "")
        if found is None:
            return FilmError(
                "SERVER_ERROR",
                f"The server could not compute an answer ({status}). Its log says why.",
                status="failed",
                retriable=status == "RESOURCE_EXHAUSTED",
            )
        return FilmError(
            found[1], _sentence(found[2]), status="rejected" if found[1] in _REJECTED else "failed"
        )

    def _timeout(self) -> FilmError:
        return FilmError(
            "TIMEOUT",
            f"No answer within {self._timeout_s:g} s. Allow more with `--timeout`, or send fewer "
            "at a time with `--jobs`.",
            status="failed",
            retriable=True,
        )

    async def _unavailable(self) -> FilmError:
        """UNAVAILABLE means that the server is gone, or that it is there and its queue is full."""
        from tritonclient.utils import InferenceServerException

        try:
            live = await self._client().is_server_live(client_timeout=PROBE_TIMEOUT_S)
        except InferenceServerException:
            live = False
        code, sentence = (
            ("SERVER_BUSY", "The server turned the film away. Send it again later.")
            if live
            else (ServerUnreachable.code, self._unreachable())
        )
        return FilmError(code, sentence, status="failed", retriable=True)


def _status(error: Any) -> str:
    return str(error.status() or "UNKNOWN").removeprefix("StatusCode.")


def _sentence(text: str) -> str:
    """Servers speak in lower case after their code; in a table it reads as a sentence."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
