"""The one place that speaks to Triton: gRPC in, our errors out.

Every error of gRPC or Triton is mapped here and nowhere else. The server's own errors read
`CODE: sentence`; that is all that is parsed of their text.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from typing import Any

from cxrclient.errors import FilmError, ServerUnfit, ServerUnreachable, UsageError
from cxrclient.prediction import EnsembleInfo

__all__ = ["Transport"]

_log = logging.getLogger(__name__)

ENSEMBLE = "cxr"
DEFAULT_PORT = 8001
CONNECT_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 2.0

# A cancelled request can crash or hang the server for everybody: measured with Triton 2.51, whose
# ensembles race with their own parallel steps then (docs/adr/0007). So no call is cancelled that
# still has a chance: who no longer waits leaves it to finish by itself.
ABANDONED_CALL_S = 600.0
"""How much longer than its film's time limit a call may live that nobody waits for."""
DRAIN_S = 5.0
"""How long `close` waits for calls in flight; what is then still open is cancelled after all."""

# What the preprocess step says of a film: sending the same film again gives the same answer.
_REJECTED = frozenset(
    {"NOT_READABLE", "NO_PIXELS", "MULTI_FRAME", "COLOUR", "CONSTANT", "TOO_LARGE"}
)
_CODE_AND_SENTENCE = re.compile(r"\b([A-Z][A-Z0-9_]{2,}): (.+)", re.DOTALL)


class Transport:
    """A gRPC channel to one server; belongs to the event loop that it is first used in.

    Args:
        address: `HOST:PORT` of the server's gRPC endpoint.
        timeout_s: the most that one film may take, queues included.

    Raises:
        UsageError: the address is not one.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        self.address = _checked_address(address)
        self._timeout_s = timeout_s
        self._channel: Any = None
        self._calls: set[asyncio.Task[Any]] = set()

    def _client(self) -> Any:
        if self._channel is None:
            from tritonclient.grpc.aio import InferenceServerClient

            # A 16-bit film has more than gRPC's 4 MB. After a restart of the server the next film
            # should find it, so the channel tries again soon.
            options: list[tuple[str, int]] = [
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ]
            if _is_loopback(self.address):
                # A hospital's http_proxy is no way to this machine.
                options.append(("grpc.enable_http_proxy", 0))
            self._channel = InferenceServerClient(self.address, channel_args=options)
        return self._channel

    async def close(self) -> None:
        """Let calls in flight finish for a while, then close the channel; harmless twice."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=DRAIN_S)
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
            if _status(error) in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                raise ServerUnreachable(self._unreachable()) from error
            raise self._unfit(
                f"is no Triton server; its gRPC port is {DEFAULT_PORT} by default"
            ) from error
        try:
            answer = await self._client().get_model_config(
                ENSEMBLE, client_timeout=CONNECT_TIMEOUT_S
            )
        except InferenceServerException as error:
            raise self._unfit(
                f"is a Triton server without a model `{ENSEMBLE}`. Start it on a repository that "
                "`cxrexport build` made: `cxrclient serve --model-repository DIR`"
            ) from error
        return self._read_parameters(answer.config.parameters)

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

    async def infer(self, payload: bytes, outputs: tuple[str, ...]) -> dict[str, Any]:
        """Send one film and return the tensors without their batch axis.

        Args:
            payload: an encoded film.
            outputs: names of the ensemble's outputs.

        Raises:
            FilmError: every fate that is not an answer.
        """
        import numpy as np
        from tritonclient.grpc import InferInput, InferRequestedOutput
        from tritonclient.utils import InferenceServerException

        image = InferInput("IMAGE", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[payload]], dtype=np.object_))
        call = asyncio.ensure_future(
            self._client().infer(
                ENSEMBLE,
                [image],
                outputs=[InferRequestedOutput(name) for name in outputs],
                client_timeout=self._timeout_s + ABANDONED_CALL_S,
            )
        )
        self._calls.add(call)
        call.add_done_callback(self._forget)
        try:
            answer = await asyncio.wait_for(asyncio.shield(call), self._timeout_s)
        except TimeoutError as error:
            raise self._timeout() from error
        except InferenceServerException as error:
            raise await self._film_error(error) from error
        return {name: answer.as_numpy(name)[0] for name in outputs}

    def _forget(self, call: asyncio.Task[Any]) -> None:
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


def _checked_address(address: str) -> str:
    """HOST:PORT; a bare host gets Triton's gRPC port.

    Raises:
        UsageError: it is a URL, or has no usable port.
    """
    if "://" in address:
        raise UsageError(
            f"{address!r} is a URL. Give HOST:PORT of the server's gRPC endpoint, for example "
            f"localhost:{DEFAULT_PORT}."
        )
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, str(DEFAULT_PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in host:
        raise UsageError(f"{address!r} is not HOST:PORT, for example localhost:{DEFAULT_PORT}.")
    return f"{host}:{port}"


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
