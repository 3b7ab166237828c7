"""Films that are sent again, and those that are not; the question which model has answered."""

from __future__ import annotations

import asyncio
import random
from threading import Thread, Timer

import numpy as np
import pytest

from cxrclient import CxrClient, FilmError, Prediction
from cxrclient.wire.connection import Connection
from cxrclient.wire.patience import Patience
from cxrclient.wire.request import infer_request
from waiting import HANG_S, eventually


@pytest.fixture
def infers(monkeypatch):
    """Counts the films that go over the wire."""
    sent = []
    real = Connection.infer

    async def counted(self, *arguments):
        sent.append(arguments)
        return await real(self, *arguments)

    monkeypatch.setattr(Connection, "infer", counted)
    return sent


def test_a_request_has_the_bytes_that_tritonclient_sends():
    from tritonclient.grpc import InferInput, InferRequestedOutput, service_pb2
    from tritonclient.grpc._utils import _get_inference_request

    payload, outputs = bytes(range(256)) * 300, ("PROBABILITY", "FLAGS")
    image = InferInput("IMAGE", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[payload]], dtype=np.object_))
    wanted = [InferRequestedOutput(name) for name in outputs]
    rest = {"sequence_id": 0, "sequence_start": False, "sequence_end": False}
    rest |= {"request_id": "", "priority": 0, "timeout": None, "parameters": None}
    theirs = _get_inference_request("cxr", [image], "", outputs=wanted, **rest)
    for parts in ([payload], [payload[:7], memoryview(payload)[7:]]):
        ours = infer_request("cxr", parts, outputs)
        assert service_pb2.ModelInferRequest.FromString(ours) == theirs


def test_a_film_whose_time_ran_out_is_waited_for_and_not_sent_again(wire, films, infers):
    with CxrClient(wire.address, timeout_s=1, retry_for_s=HANG_S, gate=False) as client:
        wire.hold()
        results = client.predict_many([films[0]])

        def flow_after_a_retry():
            eventually(lambda: client.traffic.retries)
            wire.flow()

        Thread(target=flow_after_a_retry, daemon=True).start()
        assert isinstance(next(results), Prediction)
    assert len(infers) == 1


def test_a_server_that_comes_back_in_time_costs_no_film(wire, films, infers):
    with CxrClient(wire.address, jobs=2, retry_for_s=60, gate=False) as client:
        wire.cut()
        Timer(2, wire.mend).start()
        results = list(client.predict_many(films))
    assert [result.path for result in results] == [str(film) for film in films]
    assert all(isinstance(result, Prediction) for result in results)


def test_a_server_that_stays_away_is_waited_for_once_and_not_by_each_film(wire, films):
    with CxrClient(wire.address, jobs=1, retry_for_s=2, gate=False) as client:
        wire.cut()
        results = client.predict_many(films * 3)
        codes = {next(results).code}
        tries = client.traffic.retries
        codes |= {result.code for result in results}
        assert codes == {"SERVER_UNREACHABLE"}
        assert client.traffic.retries == tries > 0


def test_what_is_the_films_own_fault_is_not_tried_again(wire, tmp_path, write_dicom, infers):
    film = write_dicom(tmp_path / "constant.dcm", np.full((90, 90), 9, np.uint16))
    with CxrClient(wire.address, retry_for_s=60) as client:
        with pytest.raises(FilmError, match="CONSTANT"):
            client.predict(film)
        assert client.traffic.retries == 0
    assert len(infers) == 1


def test_pauses_grow_and_are_never_the_same():
    async def pauses(seed):
        random.seed(seed)  # tenacity draws from Python's own generator
        slept = []

        async def sleep(seconds):
            slept.append(seconds)

        tries = Patience(retry_for_s=3600).tries().copy(sleep=sleep)
        async for attempt in tries:
            with attempt:
                if len(slept) == 30:
                    return slept
                raise FilmError("SERVER_BUSY", "busy", status="failed", retriable=True)
        return slept

    one, other = asyncio.run(pauses(0)), asyncio.run(pauses(1))
    assert one != other
    assert np.mean(one[10:]) > 4 * np.mean(one[:3])
    assert max(one) <= 8


def test_the_question_what_is_served_is_asked_after_each_answer_and_shared(monkeypatch):
    """Whoever comes while it is under way gets the next one's answer: that one began later."""
    asked, began, may_end = [], asyncio.Event(), asyncio.Event()

    async def configuration(_line):
        asked.append(None)
        number = len(asked)
        began.set()
        await may_end.wait()
        return number

    monkeypatch.setattr(Connection, "configuration", configuration)

    async def run():
        line = Connection("localhost:1")
        first = asyncio.create_task(line.ensemble_from_now())
        await began.wait()
        later = [asyncio.create_task(line.ensemble_from_now()) for _ in range(5)]
        may_end.set()  # what waits for it goes on after those five have asked
        return await first, await asyncio.gather(*later)

    assert asyncio.run(run()) == (1, [2] * 5)
    assert len(asked) == 2
