"""A film's request as it goes over the wire (KServe v2, gRPC), and as perf_analyzer reads it.

The messages are tritonclient's. Only the film's bytes are put behind the message by hand: as a
message of protobuf is the sequence of its fields, in any order, this gives the same bytes as
`InferInput.set_data_from_numpy` and `InferenceServerClient.infer`, which copy the film three times
on the way; here it is put together once (docs/adr/0015).
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import IO


def infer_request(
    model: str, payload: Sequence[bytes | memoryview], outputs: tuple[str, ...]
) -> bytes:
    """A request for one film.

    Args:
        model: the ensemble's name.
        payload: an encoded film, in parts.
        outputs: names of the ensemble's outputs.

    Returns:
        A serialised `ModelInferRequest`.
    """
    # Source: protobuf's encoding of a length-delimited field.
    length = _element_length(payload)
    size = _varint(len(length) + sum(map(len, payload)))
    return b"".join((_head(model, outputs), size, length, *payload))


def write_perf_data(file: IO[bytes], films: Iterable[Sequence[bytes | memoryview]]) -> None:
    """Write films as NVIDIA's perf_analyzer takes them (`--input-data`): it sends them in turn.

    Args:
        file: gets JSON, a line a film. Source: perf_analyzer's docs, input_data.md.
        films: encoded, in parts.
    """
    before = b'{"data": [\n'
    for payload in films:
        element = base64.b64encode(b"".join((_element_length(payload), *payload))).decode()
        film = {"IMAGE": {"content": {"b64": element}, "shape": [1]}}
        file.write(before + json.dumps(film).encode())
        before = b",\n"
    file.write(b"\n]}\n")


def _element_length(payload: Sequence[bytes | memoryview]) -> bytes:
    """What stands before an element of a BYTES tensor: its length. Source: Triton's KServe v2."""
    return struct.pack("<I", sum(map(len, payload)))


@lru_cache(maxsize=8)
def _head(model: str, outputs: tuple[str, ...]) -> bytes:
    """All of the request but the film, and the tag of the field that it belongs to."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="IMAGE", datatype="BYTES", shape=[1, 1])
    for name in outputs:
        request.outputs.add(name=name)
    length_delimited = 2
    tag = service_pb2.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | length_delimited
    return bytes(request.SerializeToString()) + _varint(tag)


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
