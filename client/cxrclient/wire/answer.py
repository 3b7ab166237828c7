"""A server's answer to one film (KServe v2, gRPC), believed only as far as the ensemble promises.

It is the one check of all tensors: what is read here has the names, kinds, shapes and ranges that
`prediction.py` documents, and all behind it relies on that. Anything else is BAD_ANSWER for this
film alone.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cxrclient.errors import FilmError
from cxrclient.files import parse_json
from cxrclient.films import require_plausible
from cxrclient.wire.admission import CODE
from cxrclient.wire.ensemble import ENSEMBLE, EnsembleInfo

_CAM_STRIDE = 32  # as the docstring of Prediction.heatmap has it
# Half precision's, of numbers near 1 (2^-11), and of the mean of some bfloat16 ones (2^-8).
_ROUNDING = 1e-3
_ROUNDING_OF_MEAN = 1e-2
# The distance of two embeddings is squared in 32 bits.
_LARGEST = 1e15
_MOST_FLAGS = 64
_MOST_FLAGS_BYTES = 1 << 14
_LENGTH_BYTES = 4

_DTYPES = {"FP32": np.dtype("<f4"), "INT32": np.dtype("<i4")}


class FilmAnswer(NamedTuple):
    """An answer, as promised.

    Attributes:
        tensors: outputs by name, without the batch axis.
        flags: codes of what the server noticed about the film.
    """

    tensors: dict[str, npt.NDArray[Any]]
    flags: tuple[str, ...]


class _Promise(NamedTuple):
    """An output's kind, its shape without the batch axis, and the range that its numbers are in.

    By so much as `rounding` they may be beyond it; they are then put at its end.
    """

    kind: str
    shape: tuple[int, ...]
    least: float = 0
    most: float = 1
    rounding: float = 0


def read_answer(info: EnsembleInfo, message: bytes, *, maps: bool) -> FilmAnswer:
    """Read the outputs for one film.

    Args:
        info: what the ensemble said of itself.
        message: a serialised `ModelInferResponse`.
        maps: whether HEATMAP and CXR were asked for too.

    Raises:
        FilmError: `BAD_ANSWER` (failed): an output is missing, or is not what was promised.
    """
    from google.protobuf.message import DecodeError
    from tritonclient.grpc import service_pb2

    try:
        answer = service_pb2.ModelInferResponse.FromString(message)
    except DecodeError as error:
        raise _bad_answer("nothing can be read") from error
    if answer.model_name != ENSEMBLE:
        raise _bad_answer("another model speaks")
    contents = _contents(answer)
    promises = _promises(info, maps)
    tensors = {name: _tensor(name, promise, contents) for name, promise in promises.items()}
    members = float(tensors["MEMBERS"].mean())
    if abs(float(tensors["PROBABILITY"][0]) - members) > _ROUNDING_OF_MEAN:
        raise _bad_answer("PROBABILITY is not the mean of MEMBERS")
    try:
        require_plausible(tensors["GEOMETRY"], info.image_size_px)
    except ValueError as error:
        raise _bad_answer(f"GEOMETRY cannot be ({error})") from error
    return FilmAnswer(tensors, _flags(contents))


def _promises(info: EnsembleInfo, maps: bool) -> dict[str, _Promise]:
    def share(*shape: int) -> _Promise:
        return _Promise("FP32", shape, rounding=_ROUNDING)

    size, members = info.image_size_px, len(info.members)
    promises = {
        "PROBABILITY": share(1),
        "MEMBERS": share(members),
        "VOTES": _Promise("INT32", (1,), 0, members),
        "EMBEDDING": _Promise("FP32", (info.embedding_size,), -_LARGEST, _LARGEST),
        "LUNGS": share(1, size, size),
        "GEOMETRY": _Promise("FP32", (8,), -_LARGEST, _LARGEST),
    }
    if maps:
        promises["HEATMAP"] = share(size // _CAM_STRIDE, size // _CAM_STRIDE)
        promises["CXR"] = share(1, size, size)
    return promises


def _contents(answer: Any) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Kind, shape and bytes of each output by its name."""
    outputs, contents = answer.outputs, answer.raw_output_contents
    if len(outputs) != len(contents):
        raise _bad_answer("outputs and their contents are not as many")
    told = {
        output.name: (output.datatype, tuple(output.shape), raw)
        for output, raw in zip(outputs, contents, strict=True)
    }
    if len(told) < len(outputs):
        raise _bad_answer("an output is there twice")
    return told


def _tensor(
    name: str, promise: _Promise, contents: dict[str, tuple[str, tuple[int, ...], bytes]]
) -> npt.NDArray[Any]:
    kind, shape, least, most, rounding = promise
    dtype = _DTYPES[kind]
    if name not in contents:
        raise _bad_answer(f"{name} is missing")
    told_kind, told_shape, raw = contents[name]
    wanted = math.prod(shape) * dtype.itemsize
    if (told_kind, told_shape, len(raw)) != (kind, (1, *shape), wanted):
        raise _bad_answer(f"{name} is not {kind} {list(shape)}")
    values = np.frombuffer(raw, dtype).reshape(shape)
    low, high = values.min(), values.max()
    if not (least - rounding <= low and high <= most + rounding):  # NaN is neither
        raise _bad_answer(f"{name} has numbers that are not in {least:g}..{most:g}")
    return values if least <= low and high <= most else np.clip(values, least, most)


def _flags(contents: dict[str, tuple[str, tuple[int, ...], bytes]]) -> tuple[str, ...]:
    """Codes in JSON: one element of a BYTES tensor, its length before it."""
    kind, shape, raw = contents.get("FLAGS", ("", (), b""))
    text = raw[_LENGTH_BYTES:]
    if (kind, shape) != ("BYTES", (1, 1)) or raw[:_LENGTH_BYTES] != len(text).to_bytes(4, "little"):
        raise _bad_answer("FLAGS is not one string")
    try:
        flags = parse_json(text.decode("utf-8")) if len(text) <= _MOST_FLAGS_BYTES else None
    except ValueError as error:
        raise _bad_answer("FLAGS cannot be read") from error
    if (
        not isinstance(flags, list)
        or len(flags) > _MOST_FLAGS
        or not all(isinstance(code, str) and CODE.fullmatch(code) for code in flags)
    ):
        raise _bad_answer("FLAGS is not a list of codes")
    return tuple(flags)


def _bad_answer(what: str) -> FilmError:
    return FilmError(
        "BAD_ANSWER", f"The server's answer is wrong: {what}. Its log may say why.", status="failed"
    )
