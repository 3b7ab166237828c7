"""Whatever a server answers, a film has a prediction as promised or an error of its own."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from answers_changed import DEEP, NAN, parameter
from cxrclient import CxrClient, FilmError, Prediction


def at(message, name):
    """The number of an output."""
    return [output.name for output in message.outputs].index(name)


def numbers(name, values, datatype=None):
    """Other numbers in an output: all of one value, or a list from its first on."""

    def change(message):
        place = at(message, name)
        output = message.outputs[place]
        output.datatype = datatype or output.datatype
        dtype = {"FP32": "<f4", "INT32": "<i4", "INT64": "<i8", "FP64": "<f8"}[output.datatype]
        full = np.zeros(list(output.shape), dtype)
        if output.datatype == "FP32":
            full = np.frombuffer(message.raw_output_contents[place], dtype).copy()
        flat = full.reshape(-1)
        flat[: np.size(values) if np.ndim(values) else None] = values
        message.raw_output_contents[place] = flat.tobytes()
        return message

    return change


def raw(name, make):
    """Other bytes in an output."""

    def change(message):
        place = at(message, name)
        message.raw_output_contents[place] = make(message.raw_output_contents[place])
        return message

    return change


def text(content):
    """Another text in FLAGS."""
    return raw("FLAGS", lambda _old: struct.pack("<I", len(content)) + content)


def about(name, **fields):
    """Another name, kind or shape of an output."""

    def change(message):
        output = message.outputs[at(message, name)]
        for field, value in fields.items():
            if field == "shape":
                del output.shape[:]
                output.shape.extend(value)
            else:
                setattr(output, field, value)
        return message

    return change


def without(name):
    def change(message):
        place = at(message, name)
        del message.outputs[place]
        del message.raw_output_contents[place]
        return message

    return change


def twice(name):
    def change(message):
        place = at(message, name)
        message.outputs.add().CopyFrom(message.outputs[place])
        message.raw_output_contents.append(message.raw_output_contents[place])
        return message

    return change


def of_another_model(message):
    message.model_name = "segment"
    return message


def without_contents(message):
    del message.raw_output_contents[:]
    return message


MALFORMED = {
    **{f"no {name}": without(name) for name in ("PROBABILITY", "VOTES", "LUNGS", "FLAGS")},
    "no contents": without_contents,
    "PROBABILITY twice": twice("PROBABILITY"),
    "another model's": of_another_model,
    "no message": lambda _message: b"\xff\xff\xff\xff no message",
    "nothing": lambda _message: b"",
    "a short LUNGS": raw("LUNGS", lambda old: old[:-4]),
    "a long LUNGS": raw("LUNGS", lambda old: old + bytes(4)),
    "a LUNGS of no whole number of floats": raw("LUNGS", lambda old: old[:-3]),
    "a LUNGS of another shape": about("LUNGS", shape=[1, 1, 160, 640]),
    "LUNGS of two films": about("LUNGS", shape=[2, 1, 160, 320]),
    "a LUNGS with a negative shape": about("LUNGS", shape=[1, 1, -1, 320]),
    "MEMBERS of an unknown kind": about("MEMBERS", datatype="FP128"),
    "MEMBERS of bytes": about("MEMBERS", datatype="BYTES"),
    "MEMBERS one too few": lambda m: about("MEMBERS", shape=[1, 3])(
        raw("MEMBERS", lambda old: old[:-4])(m)
    ),
    "PROBABILITY NaN": numbers("PROBABILITY", NAN),
    "PROBABILITY 7": numbers("PROBABILITY", 7.0),
    "PROBABILITY -0.5": numbers("PROBABILITY", -0.5),
    "PROBABILITY that is not the members' mean": numbers("PROBABILITY", 1.0),
    "MEMBERS 9 and -9": numbers("MEMBERS", [9.0, -9.0]),
    "MEMBERS infinite": numbers("MEMBERS", [float("inf")]),
    "VOTES -999": numbers("VOTES", -999),
    "VOTES 5 of 4": numbers("VOTES", 5),
    "VOTES NaN": numbers("VOTES", NAN, "FP32"),
    "VOTES in 64 bits": numbers("VOTES", 1, "INT64"),
    "EMBEDDING NaN": numbers("EMBEDDING", [NAN]),
    "EMBEDDING beyond any distance": numbers("EMBEDDING", [1e30]),
    "LUNGS NaN": numbers("LUNGS", [NAN]),
    "LUNGS 2": numbers("LUNGS", [2.0]),
    "LUNGS -1": numbers("LUNGS", [-1.0]),
    "GEOMETRY NaN": numbers("GEOMETRY", [NAN]),
    "GEOMETRY of a film of 1e6 squared": numbers("GEOMETRY", [1e6, 1e6]),
    "GEOMETRY of a film of 1 by 1e8": numbers("GEOMETRY", [1, 1e8]),
    "GEOMETRY of no film": numbers("GEOMETRY", [0, 0]),
    "GEOMETRY of half a pixel": numbers("GEOMETRY", [200.5]),
    "GEOMETRY turned": numbers("GEOMETRY", [200, 180, 0, 1, 0, 1, 0, 0]),
    "GEOMETRY mirrored": numbers("GEOMETRY", [200, 180, -0.6, 0, 180, 0, 0.6, 0]),
    "GEOMETRY of a point": numbers("GEOMETRY", [200, 180, 0, 0, 0, 0, 0, 0]),
    "GEOMETRY beside the film": numbers("GEOMETRY", [200, 180, 0.6, 0, 1000, 0, 0.6, 0]),
    "GEOMETRY far beyond the film": numbers("GEOMETRY", [200, 180, 9, 0, -1300, 0, 9, -1300]),
    "FLAGS empty": text(b""),
    "FLAGS no JSON": text(b"{"),
    "FLAGS deep": text(DEEP),
    "FLAGS long": text(json.dumps(["A"] * 100_000).encode()),
    "FLAGS many": text(json.dumps(["A"] * 1000).encode()),
    "FLAGS a dictionary": text(b'{"PADDED": 1}'),
    "FLAGS one string": text(b'"PADDED"'),
    "FLAGS a number": text(b"7"),
    "FLAGS null": text(b"null"),
    "FLAGS lists": text(b'[["PADDED"]]'),
    "FLAGS numbers": text(b"[1]"),
    "FLAGS that is no code": text(b'["\\u001b[2J"]'),
    "FLAGS a long code": text(json.dumps(["A" * 1000]).encode()),
    "FLAGS not UTF-8": text(b'["\xff\xfe"]'),
    "FLAGS longer than it is": raw("FLAGS", lambda old: struct.pack("<I", 10**9) + old[4:]),
    "FLAGS shorter than it is": raw("FLAGS", lambda old: struct.pack("<I", 1) + old[4:]),
    "FLAGS without a length": raw("FLAGS", lambda _old: b"\1"),
    "FLAGS of two strings": raw("FLAGS", lambda old: old * 2),
    "FLAGS as numbers": about("FLAGS", datatype="FP32"),
}

MALFORMED_MAPS = {
    "no HEATMAP": without("HEATMAP"),
    "no CXR": without("CXR"),
    "HEATMAP NaN": numbers("HEATMAP", [NAN]),
    "HEATMAP -1": numbers("HEATMAP", [-1.0]),
    "HEATMAP 2": numbers("HEATMAP", [2.0]),
    "HEATMAP of another shape": about("HEATMAP", shape=[1, 5, 20]),
    "CXR 255": numbers("CXR", 255.0),
    "CXR short": raw("CXR", lambda old: old[:-4]),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_answer_costs_its_own_film_and_no_other(what, tampered, films):
    tampered.answer, tampered.which = MALFORMED[what], {1}
    with CxrClient(tampered.address, jobs=1) as client:
        before, bad, after = client.predict_many([films[0]] * 3)
    assert isinstance(before, Prediction)
    assert isinstance(after, Prediction)
    assert isinstance(bad, FilmError), f"probability {bad.probability}"
    assert (bad.code, bad.status, bad.path) == ("BAD_ANSWER", "failed", str(films[0]))


@pytest.mark.parametrize("what", MALFORMED_MAPS)
def test_a_malformed_map_costs_its_own_film_and_no_other(what, tampered, films):
    tampered.answer, tampered.which = MALFORMED_MAPS[what], {1}
    with CxrClient(tampered.address, jobs=1) as client:
        before, bad, after = client.predict_many([films[0]] * 3, maps=True)
    assert isinstance(before, Prediction)
    assert isinstance(after, Prediction)
    assert isinstance(bad, FilmError)
    assert (bad.code, bad.status) == ("BAD_ANSWER", "failed")


def test_what_half_precision_rounds_beyond_its_range_is_put_at_its_end(tampered, films):
    tampered.answer = numbers("LUNGS", [1.0004, -0.0004])
    with CxrClient(tampered.address) as client:
        prediction = client.predict(films[0], maps=True)
    assert (prediction.lungs.flat[0], prediction.lungs.flat[1]) == (1.0, 0.0)
    assert prediction.lungs.max() == 1.0


def _promised(prediction, info):
    """All that the docstring of Prediction says of its numbers."""
    numbers = [prediction.probability, *prediction.members.values(), prediction.lung_fraction]
    assert all(0 <= number <= 1 for number in numbers)
    assert prediction.label in info.labels
    assert tuple(prediction.members) == info.members
    assert prediction.votes in range(len(info.members) + 1)
    assert prediction.embedding.shape == (info.embedding_size,)
    assert np.isfinite(prediction.embedding).all()
    assert all(isinstance(flag, str) for flag in prediction.flags)
    size = info.image_size_px
    for values, side in (
        (prediction.lungs, size),
        (prediction.cxr, size),
        (prediction.heatmap, size // 32),
    ):
        assert values.shape == (side, side)
        assert values.min() >= 0
        assert values.max() <= 1
    assert prediction.geometry[:2].prod() <= 1e8


@st.composite
def changes(draw):
    """A change of an answer: of its bytes, of an output's, or of what an output is said to be."""
    kind = draw(st.sampled_from(["bytes", "cut", "values", "about", "flags", "members"]))
    name = draw(
        st.sampled_from(["PROBABILITY", "MEMBERS", "VOTES", "EMBEDDING", "GEOMETRY", "HEATMAP"])
    )
    if kind == "bytes":
        places = draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1))

        def change(message):
            data = bytearray(message.SerializeToString())
            # Most of a message is maps: the first and last kilobyte are hit more often.
            for share, byte in places:
                near = int(share * 3000)
                data[near if near < 1500 else near - 3000] = byte
            return bytes(data)

        return change
    if kind == "cut":
        share = draw(st.floats(0, 1))
        return lambda message: (data := message.SerializeToString())[: int(share * len(data))]
    if kind == "values":
        size = draw(st.integers(1, 10))
        data = draw(st.binary(min_size=4 * size, max_size=4 * size))
        return raw(name, lambda old: data + old[len(data) :])
    if kind == "about":
        shape = draw(st.lists(st.integers(-2, 2**31), max_size=4))
        datatype = draw(st.sampled_from(["FP32", "INT32", "BYTES", "BF16", "BOOL", ""]))
        return about(name, shape=shape, datatype=datatype)
    if kind == "members":
        values = draw(st.lists(st.floats(-2, 2, width=32), min_size=4, max_size=4))
        mean = float(np.mean(np.float32(values)))
        return lambda message: numbers("MEMBERS", values)(numbers("PROBABILITY", mean)(message))
    depth = st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    )
    content = draw(st.binary(max_size=30) | depth.map(lambda value: json.dumps(value).encode()))
    return text(content)


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(change=changes())
def test_any_answer_gives_a_prediction_as_promised_or_a_film_error(change, tampered_server, films):
    server = tampered_server
    server.reset()
    server.answer = change
    client = _client_of(server)
    (result,) = client.predict_many([films[0]], maps=True)
    if isinstance(result, Prediction):
        _promised(result, client.model)
    else:
        assert isinstance(result, FilmError)
        assert result.code == "BAD_ANSWER"


def _client_of(server):
    """One for all examples."""
    if not hasattr(server, "client"):
        server.client = CxrClient(server.address, gate=False)
    return server.client


def of_members(names, values):
    """A server whose ensemble has these members, and answers with these probabilities."""

    def answer(message):
        content = np.array(values, "<f4").tobytes()
        message = about("MEMBERS", shape=[1, len(values)])(
            raw("MEMBERS", lambda _: content)(message)
        )
        votes = numbers("VOTES", sum(value > 0.5 for value in values))
        return votes(numbers("PROBABILITY", float(np.mean(values)))(message))

    return parameter("members", json.dumps(names)), answer


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_members_are_those_that_the_server_names_however_many(count, tampered, films):
    names = ["zeta", "vgg16", "tiny", "resnet50", "alpha"][:count]
    values = [0.875, 0.25, 0.75, 0.5, 0.625][:count]
    tampered.configuration, tampered.answer = of_members(names, values)
    with CxrClient(tampered.address) as client:
        prediction = client.predict(films[0])
    assert prediction.members == dict(zip(names, values, strict=True))
    assert list(prediction.members) == names
    assert prediction.votes == sum(value > 0.5 for value in values)
    assert prediction.probability == pytest.approx(np.mean(values))


@pytest.mark.parametrize("said", [2, 4])
def test_an_answer_of_other_members_than_the_server_names_is_none(said, tampered, films):
    names = ["zeta", "vgg16", "tiny"]
    tampered.configuration, tampered.answer = of_members(names, [0.5] * said)
    with CxrClient(tampered.address) as client, pytest.raises(FilmError, match="MEMBERS is not"):
        client.predict(films[0])


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_every_geometry_that_the_preprocessing_gives_is_believed(data):
    from types import SimpleNamespace

    from cxrclient.films.geometry import require_plausible
    from cxrexport.preprocessing.normalise import _geometry, _scaled_size, _whole_blocks

    rows = data.draw(st.integers(1, 65_535), "rows")
    columns = data.draw(st.integers(1, min(65_535, 100_000_000 // rows)), "columns")
    width, height = data.draw(st.integers(1, columns)), data.draw(st.integers(1, rows))
    left, top = data.draw(st.integers(0, columns - width)), data.draw(st.integers(0, rows - height))
    size_px = 32 * data.draw(st.integers(1, 64))
    box, _ = _whole_blocks((left, top, width, height), size_px)
    film = SimpleNamespace(shape=(rows, columns))
    geometry, _ = _geometry(film, box, _scaled_size(box, size_px), size_px)
    require_plausible(geometry.to_array(), size_px)
