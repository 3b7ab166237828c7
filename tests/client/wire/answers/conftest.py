"""A server between the client and the real one, which changes what it answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tritonclient.grpc import service_pb2

UNCHANGED = lambda message: message  # noqa: E731


class Tampered(grpc.GenericRpcHandler):
    """A gRPC server that asks the real one, and changes what it says.

    `answer(message)` is applied to the n-th answer to a film (n in `which`; None for all), and
    `configuration(message)` to the model's configuration; both may give bytes instead. Each set of
    outputs is asked for once, so that many answers cost little.
    """

    def __init__(self, target: str) -> None:
        self._real = grpc.insecure_channel(target, [("grpc.max_receive_message_length", -1)])
        self._server = grpc.server(
            ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)]
        )
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        self._kept: dict[tuple[str, ...], bytes] = {}
        self.reset()

    def reset(self):
        self.answer = self.configuration = UNCHANGED
        self.which = None
        self._films = 0

    def stop(self):
        self._server.stop(None).wait()
        self._real.close()

    def service(self, call):
        method = call.method.rpartition("/")[2]
        asked = self._real.unary_unary(call.method)
        handler = getattr(self, method, None)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, _context: handler(request, asked) if handler else asked(request)
        )

    def ModelInfer(self, request, asked):  # noqa: N802
        outputs = service_pb2.ModelInferRequest.FromString(request).outputs
        names = tuple(output.name for output in outputs)
        if names not in self._kept:
            self._kept[names] = asked(request)
        message = service_pb2.ModelInferResponse.FromString(self._kept[names])
        number, self._films = self._films, self._films + 1
        if self.which is None or number in self.which:
            message = self.answer(message)
        return message if isinstance(message, bytes) else message.SerializeToString()

    def ModelConfig(self, request, asked):  # noqa: N802
        message = service_pb2.ModelConfigResponse.FromString(asked(request))
        message = self.configuration(message)
        return message if isinstance(message, bytes) else message.SerializeToString()


@pytest.fixture(scope="module")
def tampered_server(triton_server):
    server = Tampered(triton_server.grpc_address)
    yield server
    server.stop()


@pytest.fixture
def tampered(tampered_server):
    tampered_server.reset()
    return tampered_server
